package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lockservice.client.ClaimOptions;
import dev.lockservice.client.Client;
import dev.lockservice.client.ClosedException;
import dev.lockservice.client.Lease;
import dev.lockservice.client.UnavailableException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SessionsTest extends Tries {
    private static final ClaimOptions CLAIM = ClaimOptions.defaults();

    private final String address = Stand.common().address();

    @Test
    void s32AClosedClient() throws Exception {
        Set<Thread> before = threads();
        for (int round = 0; round < 20; round++) {
            Client client = Client.create(at(address));
            String resource = fresh();
            Lease lease = client.acquire(resource, LOCK);
            CompletableFuture<Lease> waiting = client.acquireAsync(resource, LOCK.wait(s(20)));
            if (round % 2 == 0) {
                lease.retry(ms(0));
                lease = waiting.get();
                waiting = client.acquireAsync(resource, LOCK.wait(s(20)));
            }
            client.close();
            assertInstanceOf(
                    ClosedException.class,
                    assertThrows(ExecutionException.class, waiting::get).getCause());
            assertThrows(ClosedException.class, () -> client.acquire(fresh(), LOCK));
            assertThrows(ClosedException.class, lease::done);
            client.close();
        }
        // gRPC lets its own threads go a second after the last channel.
        until("its threads have ended", s(10), () -> before.containsAll(threads()));
    }

    @Test
    void s32AClientThatIsClosedWhileItRepeats() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        far.fault("unavailable", "Acquire", 1000);
        Client client = Client.create(at(far.address()).retryFor(s(60)));
        CompletableFuture<Lease> asked = client.acquireAsync(fresh(), LOCK);
        until("it repeats", s(5), () -> far.calls("Acquire").size() >= 3);
        client.close();
        assertInstanceOf(
                ClosedException.class,
                assertThrows(ExecutionException.class, asked::get).getCause());
    }

    private static Set<Thread> threads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> Pattern.compile("lockservice|grpc").matcher(thread.getName()).find())
                .collect(Collectors.toSet());
    }

    @Test
    void s33ManyCallsInFewMessages() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Client client = connect(far.address());
        List<CompletableFuture<Boolean>> all = new ArrayList<>();
        for (int number = 0; number < 100; number++) {
            all.add(client.firstAsync(fresh(), CLAIM));
        }
        for (CompletableFuture<Boolean> each : all) {
            each.get();
        }
        assertEquals(1, far.count("streams"));
        assertTrue(far.count("frames") <= 25, () -> "messages: " + far.count("frames"));
    }

    @Test
    void s34WithoutSessions() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        far.fault("no_sessions", "Session", 1);
        connect(far.address()).withLock(fresh(), LOCK, lease -> {});
        assertTrue(far.calls().stream().allMatch(Stand.Seen::unary));
    }

    @Test
    void s35AnOldStream() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Admin admin = admin(address);
        Client client = connect(at(far.address()).streamAge(ms(300)).retryFor(ms(0)));
        String resource = fresh();
        Lease lease = client.acquire(resource, LOCK.ttl(s(60)));
        CompletableFuture<Lease> waiting = client.acquireAsync(resource, LOCK.wait(s(20)));
        until("it waits", s(5), () -> admin.queueLength(resource) == 1);
        int asked = 2;
        for (long began = System.nanoTime(); since(began) < 1500; asked++) {
            client.first(fresh(), CLAIM);
        }
        assertEquals(asked, far.calls("Acquire").size() + far.calls("Dedupe").size());
        int streams = far.count("streams");
        assertTrue(streams >= 4 && streams <= 7, () -> "streams: " + streams);
        assertEquals(2, far.count("open_streams"));
        lease.done();
        waiting.get().close();
        until("the first has ended", s(5), () -> far.count("open_streams") == 1);
    }

    @ParameterizedTest
    @CsvSource({
        "'', '', 127.0.0.1:50051",
        "127.0.0.1:7, '', 127.0.0.1:7",
        "locks.example:50051, secret, would cross the network to locks.example:50051 in the clear"
    })
    void s36TheEnvironment(String addressGiven, String token, String says) throws Exception {
        Process asked = run(
                List.of(Environment.class.getName()), "LOCKSERVICE_ADDR", addressGiven, "LOCKSERVICE_TOKEN", token);
        String said = new String(asked.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(said.contains(says), said);
    }

    @Test
    void s37TheServiceConfig() throws Exception {
        try (InputStream own = Client.class.getResourceAsStream("service_config.json")) {
            assertArrayEquals(Files.readAllBytes(Path.of("../../service_config.json")), own.readAllBytes());
        }
    }

    @Test
    void s37CallsAreRepeatedByTheClientAlone() {
        Stand.Proxy far = opened(Stand.proxy(address));
        far.fault("unavailable", "Acquire", 1000);
        Client once = connect(at(far.address()).unary().retryFor(ms(0)));
        assertThrows(UnavailableException.class, () -> once.acquire(fresh(), LOCK));
        assertEquals(1, far.calls("Acquire").size());
        Client client = connect(at(far.address()).unary().retryFor(ms(500)));
        assertThrows(UnavailableException.class, () -> client.acquire(fresh(), LOCK));
        int calls = far.calls("Acquire").size() - 1;
        // Pauses of 20, 40, 80, 160 and 320 ms, each with a jitter of a half.
        assertTrue(calls >= 3 && calls <= 7, () -> "calls: " + calls);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "Basic|another worker is told: order:basic-java is held by .*\npacked packed",
        "Waiting|left 0",
        "Dedupe|charged 12 EUR\nduplicate of: charged 12 EUR",
        "Ordered|create: applied\nupdate: applied\ncreate again: a newer one was applied\nupdate: done before"
                + "\nsame instant: fetched afresh and applied",
    })
    void s38Samples(String row) throws Exception {
        String[] parts = row.split("\\|");
        Process sample = run(List.of("../samples/" + parts[0] + ".java"), "LOCKSERVICE_ADDR", address);
        String said = new String(sample.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, sample.waitFor(), said);
        assertTrue(said.strip().matches(parts[1]), said);
    }
}
