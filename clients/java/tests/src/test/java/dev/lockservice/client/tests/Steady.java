package dev.lockservice.client.tests;

import com.google.gson.Gson;
import dev.lockservice.client.Client;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LockOptions;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Calls at a steady rate until standard input ends, and prints what came of it, as clients/scenarios.md says. */
final class Steady {
    private static final double CALLS_S =
            Double.parseDouble(System.getenv().getOrDefault("LOCKSERVICE_CALLS_S", "125"));
    private static final LockOptions LOCK = LockOptions.defaults().ttl(Duration.ofSeconds(30));
    private static final int THREADS = 64;

    private final AtomicLong calls = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong slowestNanos = new AtomicLong();
    private final AtomicLong numbers = new AtomicLong();
    private final Set<String> errors = new ConcurrentSkipListSet<>();

    private Steady() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Steady steady = new Steady();
        try (Client client = Client.create()) {
            ScheduledExecutorService pairs = Executors.newScheduledThreadPool(THREADS);
            long pairNanos = Math.round(2e9 / CALLS_S);
            // One schedule would wait for each pair; a pair of its own thread each does not.
            ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor();
            clock.scheduleAtFixedRate(
                    () -> pairs.execute(() -> steady.pair(client)), 0, pairNanos, TimeUnit.NANOSECONDS);
            System.in.readAllBytes();
            clock.shutdown();
            clock.awaitTermination(1, TimeUnit.MINUTES);
            pairs.shutdown();
            pairs.awaitTermination(1, TimeUnit.MINUTES);
        }
        System.out.println(new Gson().toJson(steady.said()));
    }

    /** Takes a lock and gives it back. */
    private void pair(Client client) {
        String resource = "steady-java:" + ProcessHandle.current().pid() + ":" + numbers.incrementAndGet();
        try {
            long began = System.nanoTime();
            Lease lease = client.acquire(resource, LOCK);
            called(began);
            began = System.nanoTime();
            lease.done();
            called(began);
        } catch (Exception error) {
            failed.incrementAndGet();
            errors.add(error.toString());
        }
    }

    private void called(long began) {
        calls.incrementAndGet();
        slowestNanos.accumulateAndGet(System.nanoTime() - began, Math::max);
    }

    private Map<String, Object> said() {
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("client", "java");
        said.put("calls", calls.get());
        said.put("failed", failed.get());
        said.put("errors", errors);
        said.put("slowest_ms", slowestNanos.get() / 1e6);
        return said;
    }
}
