package dev.lockservice.client.tests;

import com.google.gson.Gson;
import com.sun.management.OperatingSystemMXBean;
import dev.lockservice.client.Client;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LockOptions;
import dev.lockservice.v1.AcquireRequest;
import dev.lockservice.v1.LockServiceGrpc;
import dev.lockservice.v1.LockServiceGrpc.LockServiceBlockingStub;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/** Prints one line of the figures that clients/scenarios.md names. */
final class Bench {
    private static final int CALLERS = 128;
    /** Its compiler is at work for as long as that. */
    private static final long WARM_NANOS = Duration.ofSeconds(10).toNanos();
    private static final long RUN_NANOS = Duration.ofSeconds(3).toNanos();
    private static final int TURN = 200;
    private static final int TURNS = 5;
    private static final int LEASES = 1_000;
    private static final Duration KEPT = Duration.ofSeconds(20);
    private static final LockOptions LOCK = LockOptions.defaults();
    private static final long PID = ProcessHandle.current().pid();

    private Bench() {}

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, Object> figures = new LinkedHashMap<>();
        try (Client client = Client.create()) {
            figures.put("client", "java");
            figures.put("pairs_per_s", pairs(client));
            latencies(client, figures);
            figures.put("renewing_cpu_percent", renewing(client));
        }
        System.out.println(new Gson().toJson(figures));
    }

    /** Returns acquires and releases a second of all callers, each with a resource of its own. */
    private static double pairs(Client client) throws InterruptedException {
        long counting = System.nanoTime() + WARM_NANOS;
        AtomicLong count = new AtomicLong();
        List<Thread> all = new ArrayList<>();
        for (int number = 0; number < CALLERS; number++) {
            String resource = "bench-java:" + number;
            Thread caller = new Thread(() -> {
                try {
                    for (long now = System.nanoTime(); now - counting < RUN_NANOS; now = System.nanoTime()) {
                        client.acquire(resource, LOCK.ttl(Duration.ofSeconds(30))).done();
                        count.addAndGet(now - counting >= 0 ? 1 : 0);
                    }
                } catch (InterruptedException interrupted) {
                    throw new AssertionError(interrupted);
                }
            });
            caller.start();
            all.add(caller);
        }
        for (Thread caller : all) {
            caller.join();
        }
        return count.get() * 1e9 / RUN_NANOS;
    }

    /** Finds the medians in ms of an acquire of the client, and of the stub's, in turns. */
    private static void latencies(Client client, Map<String, Object> figures) throws InterruptedException {
        ManagedChannel channel = Grpc.newChannelBuilder(client.address(), InsecureChannelCredentials.create())
                .build();
        LockServiceBlockingStub stub = LockServiceGrpc.newBlockingStub(channel);
        List<Long> own = new ArrayList<>();
        List<Long> stubs = new ArrayList<>();
        for (int round = 0; round < TURNS; round++) {
            List<Lease> made = new ArrayList<>();
            for (int number = 0; number < TURN; number++) {
                long began = System.nanoTime();
                made.add(client.acquire("bench-java-own:" + PID + ":" + round + ":" + number, LOCK));
                own.add(System.nanoTime() - began);
            }
            made.forEach(Lease::done);
            for (int number = 0; number < TURN; number++) {
                AcquireRequest request = AcquireRequest.newBuilder()
                        .setResource("bench-java-stub:" + PID + ":" + round + ":" + number)
                        .setOwner("bench")
                        .setTtl(com.google.protobuf.Duration.newBuilder().setSeconds(1))
                        .build();
                long began = System.nanoTime();
                stub.acquire(request);
                stubs.add(System.nanoTime() - began);
            }
        }
        channel.shutdownNow();
        figures.put("p50_ms", median(own));
        figures.put("stub_p50_ms", median(stubs));
    }

    private static double median(List<Long> nanos) {
        Collections.sort(nanos);
        return nanos.get(nanos.size() / 2) / 1e6;
    }

    /** Returns the per cent of a core that it takes to keep leases alive. */
    private static double renewing(Client client) throws InterruptedException {
        OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
        List<Lease> held = new ArrayList<>();
        for (int number = 0; number < LEASES; number++) {
            held.add(client.acquire("bench-java-kept:" + PID + ":" + number, LOCK));
        }
        long began = System.nanoTime();
        long before = system.getProcessCpuTime();
        Thread.sleep(KEPT.toMillis());
        double percent = 100.0 * (system.getProcessCpuTime() - before) / (System.nanoTime() - began);
        held.forEach(Lease::done);
        return percent;
    }
}
