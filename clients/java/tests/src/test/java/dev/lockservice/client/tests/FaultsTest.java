package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.InvalidRequestException;
import dev.lockservice.client.Lease;
import dev.lockservice.client.NotAllowedException;
import dev.lockservice.client.ServiceException;
import dev.lockservice.client.UnavailableException;
import io.grpc.Status;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FaultsTest extends Tries {
    private static void take(Client client) throws InterruptedException {
        client.withLock(fresh(), LOCK, lease -> {});
    }

    @Test
    void s22ARestart() throws Exception {
        Stand.Service own = opened(Stand.service(1, ""));
        Client client = connect(own.address());
        String kept = fresh();
        try (Lease lease = client.acquire(kept, LOCK.ttl(s(6)))) {
            own.act(0, "kill");
            CompletableFuture<Void> told = apart(() -> {
                take(client);
                return null;
            });
            own.act(0, "start");
            told.get();
            until("it is about to be renewed", s(5), () -> lease.remaining().compareTo(ms(4500)) < 0);
            until("it is renewed", s(5), () -> lease.remaining().compareTo(ms(5500)) > 0);
            assertThrows(HeldException.class, () -> client.acquire(kept, LOCK));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void s23AKilledReplica(boolean unary) throws Exception {
        Stand.Service pair = opened(Stand.service(2, ""));
        Client client = connect(unary ? at(pair.target()).unary() : at(pair.target()));
        for (int round = 0; round < 4; round++) {
            take(client);
        }
        for (int victim = 0; victim < 2; victim++) {
            pair.act(victim, "kill");
            for (int round = 0; round < 4; round++) {
                take(client);
            }
            pair.act(victim, "start");
        }
    }

    @Test
    void s24ADrain() throws Exception {
        Stand.Service pair = opened(Stand.service(2, ""));
        Client later = connect(pair.address(1));
        Client moved = connect(pair.target());
        Admin admin = admin(pair.address(1));
        String resource = fresh();
        Lease lease = later.acquire(resource, LOCK.ttl(s(30)));
        List<String> order = new ArrayList<>();
        List<CompletableFuture<Void>> all = new ArrayList<>();
        for (Client each : List.of(moved, later)) {
            int before = admin.queueLength(resource);
            all.add(apart(() -> {
                each.withLock(resource, LOCK.wait(s(20)), held -> order.add(each == moved ? "moved" : "later"));
                return null;
            }));
            until("it waits", s(5), () -> admin.queueLength(resource) == before + 1);
        }
        pair.act(0, "terminate");
        until("it has gone, and nobody waits through it", s(10), () -> !listens(pair.address(0)));
        lease.done();
        for (CompletableFuture<Void> each : all) {
            each.get();
        }
        assertEquals(List.of("moved", "later"), order);
    }

    private static boolean listens(String address) {
        String[] parts = address.split(":");
        try (Socket probe = new Socket(parts[0], Integer.parseInt(parts[1]))) {
            return probe.isConnected();
        } catch (IOException refused) {
            return false;
        }
    }

    @Test
    void s25AFrozenReplica() throws Exception {
        Stand.Service pair = opened(Stand.service(2, ""));
        Client client = connect(pair.target());
        take(client);
        pair.act(0, "freeze");
        try {
            int failed = 0;
            for (int round = 0; round < 5; round++) {
                try {
                    client.acquire(fresh(), LOCK);
                } catch (ServiceException fault) {
                    failed++;
                    assertTrue(round <= 1, fault.getMessage());
                }
            }
            assertTrue(failed <= 2);
        } finally {
            pair.act(0, "thaw");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"closed", "http", "silent"})
    void s26Strangers(String kind) {
        String address = Stand.stranger(kind);
        Client client = connect(at(address).retryFor(ms(200)));
        long began = System.nanoTime();
        ServiceException fault = assertThrows(ServiceException.class, () -> client.acquire("x", LOCK));
        assertTrue(since(began) < 8000);
        assertTrue(fault.getMessage().contains(address), fault.getMessage());
        if (!kind.equals("silent")) {
            assertInstanceOf(UnavailableException.class, fault);
        }
    }

    /** What is tried, the service's TLS, the client's files, and what the error says; empty: there is none. */
    @ParameterizedTest
    @ValueSource(strings = {
        "plaintext to TLS;server;;expect TLS",
        "TLS to plaintext;;ca;does not speak TLS",
        "expired;expired;ca;(?s)certificate.*(?i)expired",
        "unknown authority;server;other_ca;certificate",
        "no client certificate;mutual;ca;certificate|TLS|closed",
        "good;server;ca;",
        "mutual;mutual;ca cert key;"
    })
    void s27Tls(String row, @TempDir Path directory) throws Exception {
        String[] parts = row.split(";", -1);
        Stand.Service own = opened(Stand.service(1, parts[1]));
        ClientOptions options = at(own.address()).retryFor(ms(200));
        String[] files = parts[2].split(" ");
        if (files.length == 3) {
            Path key = directory.resolve("key.pem");
            ClientOptions raw = options.tls(own.file("ca"), own.file("cert"), own.file("key"));
            assertTrue(assertThrows(IllegalArgumentException.class, () -> Client.create(raw))
                    .getMessage()
                    .contains("PKCS #8"));
            List<String> convert = List.of("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", own.file("key").toString());
            int converted = new ProcessBuilder(convert)
                    .redirectOutput(key.toFile())
                    .start()
                    .waitFor();
            assertEquals(0, converted);
            options = options.tls(own.file("ca"), own.file("cert"), key);
        } else if (!files[0].isEmpty()) {
            options = options.tls(own.file(files[0]));
        }
        Client client = connect(options);
        if (parts[3].isEmpty()) {
            client.acquire("x", LOCK).close();
        } else {
            String said = assertThrows(UnavailableException.class, () -> client.acquire("x", LOCK))
                    .getMessage();
            assertTrue(Pattern.compile(parts[3]).matcher(said).find(), said);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"unauthenticated", "permission_denied"})
    void s28Refused(String fault) {
        Stand.Proxy far = opened(Stand.proxy(Stand.common().address()));
        Client client = connect(far.address());
        far.fault(fault, "Acquire", 5);
        assertThrows(NotAllowedException.class, () -> client.acquire("x", LOCK));
        assertEquals(1, far.calls("Acquire").size());
    }

    @Test
    void s28ATokenInTheClear() {
        ClientOptions secret = ClientOptions.defaults().token("secret");
        for (String address :
                List.of("db.example:50051", "127.example.com:50051", "localhost.example.com:50051", "127.0.0.1.x:1")) {
            assertThrows(IllegalArgumentException.class, () -> Client.create(secret.address(address)));
        }
        for (String address : List.of("127.0.0.1:1", "dns:///localhost:1", "[::1]:1")) {
            connect(secret.address(address));
        }
        connect(secret.address("db.example:50051").insecure());
    }

    @ParameterizedTest
    @ValueSource(strings = {"unknown_outcome", "unknown_kind"})
    void s29AnAnswerFromTheFuture(String fault) throws Exception {
        Stand.Proxy far = opened(Stand.proxy(Stand.common().address()));
        Client client = connect(far.address());
        String resource = fresh();
        far.fault(fault, "Acquire", 1);
        ServiceException unknown =
                assertThrows(ServiceException.class, () -> client.acquire(resource, LOCK.ttl(ms(500))));
        assertEquals(Status.Code.UNKNOWN, unknown.code());
        client.acquire(resource, LOCK.wait(s(5))).close();
        assertEquals(0, far.calls("Renew").size(), "it was kept alive");
    }

    @Test
    void s30Megabytes() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(Stand.common().address()));
        Client client = connect(far.address());
        String resource = fresh();
        Lease lease = client.acquire(resource, LOCK);
        CompletableFuture<Lease> waiting = client.acquireAsync(resource, LOCK.wait(s(20)));
        assertThrows(ServiceException.class, () -> client.acquire("x".repeat(4 << 20), LOCK));
        assertThrows(InvalidRequestException.class, () -> client.acquire("x".repeat(600), LOCK));
        far.fault("large", "Acquire", 1);
        take(client);
        lease.done();
        waiting.get().close();
    }

    @Test
    void s31CancelledAtAnyPoint() throws Exception {
        String address = Stand.common().address();
        Client client = connect(address);
        Admin admin = admin(address);
        String resource = fresh();
        for (int delay = 0; delay < 20; delay++) {
            CompletableFuture<Lease> asked = client.acquireAsync(resource, LOCK.ttl(s(20)));
            TimeUnit.MICROSECONDS.sleep(delay * 150L);
            if (!asked.cancel(true)) {
                asked.get().close();
            }
            until("it is given back", s(1), () -> !admin.isHeld(resource));
        }
        assertEquals(0, admin.queueLength(resource));
    }

    @Test
    void s31InterruptedAtAnyPoint() throws Exception {
        String address = Stand.common().address();
        Client client = connect(address);
        Admin admin = admin(address);
        String resource = fresh();
        for (int delay = 0; delay < 20; delay++) {
            Thread thread = new Thread(() -> {
                try {
                    client.acquire(resource, LOCK.ttl(s(20))).close();
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
            });
            thread.start();
            TimeUnit.MICROSECONDS.sleep(delay * 150L);
            thread.interrupt();
            thread.join();
            until("it is given back", s(1), () -> !admin.isHeld(resource));
        }
        assertEquals(0, admin.queueLength(resource));
    }
}
