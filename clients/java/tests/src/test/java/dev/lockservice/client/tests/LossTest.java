package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LeaseLostException;
import java.io.BufferedReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

/** Renewal, and the ways in which a lease is lost. */
class LossTest extends Tries {
    private final String address = Stand.common().address();
    private final Client client = connect(address);
    private final String resource = fresh();

    @Test
    void s06Renewal() throws Exception {
        Lease lease = client.acquire(resource, LOCK.ttl(ms(400)));
        for (int round = 0; round < 8; round++) {
            Thread.sleep(200);
            lease.check();
            assertThrows(HeldException.class, () -> client.acquire(resource, LOCK));
        }
        lease.done();
    }

    @Test
    void s07AReleaseBesideManyWaiters() throws Exception {
        Admin admin = admin(address);
        Stand.Proxy far = opened(Stand.proxy(address));
        for (ClientOptions options : List.of(at(far.address()), at(far.address()).unary())) {
            Client crowded = connect(options);
            String each = fresh();
            Lease lease = crowded.acquire(each, LOCK);
            List<CompletableFuture<?>> all = new ArrayList<>();
            for (int number = 0; number < 200; number++) {
                all.add(crowded.acquireAsync(each, LOCK.wait(s(3)).ttl(ms(100)))
                        .thenAccept(Lease::close)
                        .exceptionally(late -> null));
            }
            // As many as the proxy lets through on that connection.
            until("they wait", s(5), () -> admin.queueLength(each) >= 90);
            long began = System.nanoTime();
            lease.done();
            assertTrue(since(began) < 1000, () -> "ms: " + since(began));
            CompletableFuture.allOf(all.toArray(CompletableFuture[]::new)).get();
        }
    }

    @Test
    void s08TheHolderHearsBeforeTheEnd() throws Exception {
        Stand.Service own = opened(Stand.service(1, ""));
        Client holder = connect(own.address());
        Duration ttl = ms(1500);
        try (Lease lease = holder.acquire(fresh(), LOCK.ttl(ttl))) {
            CompletableFuture<LeaseLostException> lost = new CompletableFuture<>();
            lease.onLost(lost::complete);
            long began = System.nanoTime();
            own.act(0, "freeze");
            lost.get();
            long took = since(began);
            own.act(0, "thaw");
            assertTrue(took <= ttl.toMillis() && took >= ttl.toMillis() / 2, () -> "ms: " + took);
            assertThrows(LeaseLostException.class, lease::check);
        }
    }

    @Test
    void s09ForceInterruptsTheHolder() throws Exception {
        Admin admin = admin(address);
        long began = System.nanoTime();
        LeaseLostException lost = assertThrows(
                LeaseLostException.class, () -> client.withLock(resource, LOCK.ttl(ms(900)), lease -> {
                    admin.force(resource, lease.fencingToken());
                    Thread.sleep(10_000);
                }));
        assertTrue(since(began) < 900, () -> "ms: " + since(began));
        assertInstanceOf(InterruptedException.class, lost.getSuppressed()[0]);
        assertFalse(Thread.interrupted(), "the interruption was for the work alone");
    }

    @Test
    void s09ForceFailsTheFuture() {
        Admin admin = admin(address);
        CompletableFuture<Void> endless = new CompletableFuture<>();
        CompletableFuture<Void> working = client.withLockAsync(resource, LOCK.ttl(ms(900)), lease -> {
            admin.force(resource, lease.fencingToken());
            return endless;
        });
        assertInstanceOf(
                LeaseLostException.class,
                assertThrows(ExecutionException.class, working::get).getCause());
        assertTrue(endless.isCancelled());
    }

    @Test
    void s10AStoppedProcess() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Process holder = run(List.of(StoppedHolder.class.getName(), far.address(), resource));
        try (BufferedReader said = holder.inputReader()) {
            assertEquals("holds", said.readLine());
            signal("STOP", holder);
            // Once another is granted, its lease has ended.
            try (Lease lease = client.acquire(resource, LOCK.wait(s(10)))) {
                int before = far.calls("Renew").size();
                long woken = System.nanoTime();
                signal("CONT", holder);
                assertEquals("lost", said.readLine());
                assertTrue(since(woken) < 100, () -> "ms: " + since(woken));
                assertEquals(before, far.calls("Renew").size());
            }
        } finally {
            holder.destroyForcibly().waitFor();
        }
    }

    private static void signal(String name, Process process) throws Exception {
        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
    }

    @Test
    void s16ALateGrant() throws Exception {
        Admin admin = admin(address);
        Stand.Proxy far = opened(Stand.proxy(address));
        Client slow = connect(far.address());
        String kept = fresh();
        far.fault("hold", "Acquire", 1);
        CompletableFuture<Lease> asked = slow.acquireAsync(kept, LOCK.ttl(s(3)));
        until("it is granted", s(5), () -> admin.isHeld(kept));
        Thread.sleep(1200);
        far.letGo();
        try (Lease lease = asked.get()) {
            assertTrue(lease.remaining().compareTo(s(2)) > 0, "it was renewed");
        }
        String gone = fresh();
        far.fault("hold", "Acquire", 1);
        CompletableFuture<Lease> late = slow.acquireAsync(gone, LOCK.ttl(ms(300)));
        until("it is granted", s(5), () -> admin.isHeld(gone));
        until("it has ended", s(5), () -> !admin.isHeld(gone));
        far.letGo();
        assertInstanceOf(
                LeaseLostException.class,
                assertThrows(CompletionException.class, late::join).getCause());
    }
}
