package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lockservice.client.Acquired;
import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.DuplicateException;
import dev.lockservice.client.EarlyException;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.Holder;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LockOptions;
import dev.lockservice.client.StaleException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;

class LeasesTest extends Tries {
    private final String address = Stand.common().address();
    private final Client client = connect(address);
    private final String resource = fresh();

    @Test
    void s01AFreeResourceIsGranted() throws Exception {
        Lease first = client.acquire(resource, LOCK);
        first.done();
        Lease second = client.acquire(resource, LOCK);
        second.done();
        assertTrue(first.fencingToken() > 0 && second.fencingToken() > first.fencingToken());
    }

    @Test
    void s02HeldNamesTheHolder() throws Exception {
        Client other = connect(at(address).owner("the other"));
        try (Lease lease = other.acquire(resource, LOCK)) {
            Holder by = assertThrows(HeldException.class, () -> client.acquire(resource, LOCK))
                    .holder()
                    .orElseThrow();
            assertEquals("the other", by.owner());
            assertEquals(lease.fencingToken(), by.fencingToken());
            assertTrue(by.remaining().compareTo(s(8)) > 0 && by.remaining().compareTo(s(10)) <= 0);
        }
    }

    @Test
    void s03FirstComeFirstServed() throws Exception {
        Admin admin = admin(address);
        Lease lease = client.acquire(resource, LOCK.ttl(s(30)));
        List<Integer> order = new ArrayList<>();
        List<CompletableFuture<Void>> all = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            int mine = number;
            all.add(apart(() -> {
                client.withLock(resource, LOCK.wait(s(10)), held -> order.add(mine));
                return null;
            }));
            until("it waits", s(5), () -> admin.queueLength(resource) == mine + 1);
        }
        lease.done();
        for (CompletableFuture<Void> each : all) {
            each.get();
        }
        assertEquals(List.of(0, 1, 2), order);
    }

    @Test
    void s04AWaitThatIsOver() throws Exception {
        try (Lease lease = client.acquire(resource, LOCK)) {
            long began = System.nanoTime();
            assertThrows(HeldException.class, () -> client.acquire(resource, LOCK.wait(ms(300))));
            assertTrue(since(began) >= 295 && since(began) < 1000, () -> "ms: " + since(began));
            assertEquals(0, admin(address).queueLength(resource));
        }
    }

    @Test
    void s05AnInterruptLeavesTheQueue() throws Exception {
        Admin admin = admin(address);
        try (Lease lease = client.acquire(resource, LOCK)) {
            CompletableFuture<Boolean> told = new CompletableFuture<>();
            Thread thread = new Thread(() -> {
                try {
                    client.acquire(resource, LOCK.wait(s(20))).close();
                    told.complete(false);
                } catch (InterruptedException interrupted) {
                    told.complete(true);
                }
            });
            thread.start();
            until("it waits", s(5), () -> admin.queueLength(resource) == 1);
            thread.interrupt();
            assertTrue(told.get());
            until("it has left", s(1), () -> admin.queueLength(resource) == 0);
        }
    }

    @Test
    void s05ACancelledFutureLeavesTheQueue() throws Exception {
        Admin admin = admin(address);
        try (Lease lease = client.acquire(resource, LOCK)) {
            for (CompletableFuture<?> waiting : List.of(
                    client.acquireAsync(resource, LOCK.wait(s(20))),
                    client.withLockAsync(resource, LOCK.wait(s(20)), CompletableFuture::completedFuture))) {
                until("it waits", s(5), () -> admin.queueLength(resource) >= 1);
                assertTrue(waiting.cancel(true));
            }
            until("they have left", s(1), () -> admin.queueLength(resource) == 0);
        }
    }

    @Test
    void s05AGrantThatCrossesTheCancellation() throws Exception {
        Admin admin = admin(address);
        Stand.Proxy far = opened(Stand.proxy(address));
        Client slow = connect(far.address());
        for (boolean named : new boolean[] {false, true}) {
            String each = fresh();
            LockOptions options = named ? LOCK.ttl(s(3)).requestId("mine") : LOCK.ttl(s(3));
            far.fault("hold", "Acquire", 1);
            CompletableFuture<Lease> asked = slow.acquireAsync(each, options);
            until("it is granted", s(5), () -> admin.isHeld(each));
            asked.cancel(true);
            far.letGo();
            if (named) {
                assertThrows(HeldException.class, () -> client.acquire(each, LOCK.wait(ms(500))));
                slow.acquire(each, options).close();
            } else {
                until("it is given back", s(1), () -> !admin.isHeld(each));
            }
        }
    }

    @Test
    void s11ALostReply() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        for (ClientOptions options : List.of(at(far.address()), at(far.address()).unary())) {
            Client asking = connect(options);
            int already = far.calls("Acquire").size();
            far.fault("lose_reply", "Acquire", 1);
            asking.acquire(fresh(), LOCK).close();
            List<Stand.Seen> calls = far.calls("Acquire");
            calls = calls.subList(already, calls.size());
            assertEquals(2, calls.size());
            assertArrayEquals(calls.get(0).request(), calls.get(1).request());
            // Without a request id the repetition is refused.
            far.fault("lose_reply", "Acquire", 1);
            assertThrows(HeldException.class, () -> asking.acquire(fresh(), LOCK.requestId("")));
        }
    }

    @Test
    void s12DoneAndRetry() throws Exception {
        LockOptions event = LOCK.eventId("e-1");
        Exception out = new Exception("no stock");
        assertSame(out, assertThrows(Exception.class, () -> client.withLock(resource, event, lease -> {
            throw out;
        })));
        ExecutionException late = assertThrows(ExecutionException.class, () -> client.withLockAsync(
                        resource, event, lease -> CompletableFuture.failedFuture(out))
                .get());
        assertSame(out, late.getCause());
        assertEquals("value", client.callWithLock(resource, event, lease -> "value"));
        assertThrows(DuplicateException.class, () -> client.withLock(resource, event, lease -> {}));
        assertEquals(
                "late",
                client.withLockAsync(fresh(), LOCK, lease -> CompletableFuture.completedFuture("late"))
                        .get());
    }

    @Test
    void s12AHold() throws Exception {
        LockOptions event = LOCK.eventId("e-1");
        String other = fresh();
        assertThrows(IllegalStateException.class, () -> client.withLock(resource, event.retryHold(s(20)), lease -> {
            throw new IllegalStateException("later");
        }));
        client.withLock(other, event, lease -> lease.retry(s(20)));
        for (String each : List.of(resource, other)) {
            assertThrows(HeldException.class, () -> client.acquire(each, LOCK.eventId("e-2")));
            client.acquire(each, event).close();
        }
    }

    @Test
    void s13AScopeThatEnds() throws Exception {
        LockOptions event = LOCK.eventId("e-1");
        client.acquire(resource, event).close();
        try (Lease lease = client.acquire(resource, event)) {
            lease.done();
        }
        assertThrows(DuplicateException.class, () -> client.acquire(resource, event));
    }

    @Test
    void s14Refusals() throws Exception {
        client.withLock(resource, LOCK.version(7).eventId("e-7"), lease -> {});
        assertEquals(
                7,
                assertThrows(StaleException.class, () -> client.acquire(resource, LOCK.version(6)))
                        .completedVersion());
        assertEquals(
                7,
                assertThrows(EarlyException.class, () -> client.acquire(resource, LOCK.afterVersion(8)))
                        .completedVersion());
        assertThrows(DuplicateException.class, () -> client.acquire(resource, LOCK.eventId("e-7")));
        assertEquals(new Acquired.Stale(7), client.tryAcquire(resource, LOCK.version(6)));
        assertEquals(new Acquired.Early(7), client.tryAcquire(resource, LOCK.afterVersion(8)));
        assertEquals(new Acquired.Duplicate(), client.tryAcquire(resource, LOCK.eventId("e-7")));
        Acquired.Granted granted = assertInstanceOf(Acquired.Granted.class, client.tryAcquire(resource, LOCK));
        Acquired.Held held = assertInstanceOf(Acquired.Held.class, client.tryAcquire(resource, LOCK));
        assertEquals(client.owner(), held.holder().orElseThrow().owner());
        granted.lease().close();
    }

    @Test
    void s15Versions() throws Exception {
        List<Long> order = new ArrayList<>();
        CompletableFuture<Void> update = apart(() -> {
            client.withLock(resource, LOCK.version(2).afterVersion(1).wait(s(10)), lease ->
                    order.add(lease.completedVersion()));
            return null;
        });
        client.withLock(resource, LOCK.version(1).wait(s(5)), lease -> order.add(lease.completedVersion()));
        update.get();
        assertEquals(List.of(-1L, 1L), order);
        try (Lease stale = client.acquire(resource, LOCK.version(1).allowStale())) {
            assertFalse(stale.tie());
        }
        try (Lease tie = client.acquire(resource, LOCK.version(2))) {
            assertTrue(tie.tie());
        }
    }
}
