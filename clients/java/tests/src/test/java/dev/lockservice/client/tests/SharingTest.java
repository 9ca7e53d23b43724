package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lockservice.client.ClaimOptions;
import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.Lease;
import dev.lockservice.client.Narrow;
import dev.lockservice.client.ServiceException;
import dev.lockservice.v1.ReleaseRequest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What travels on one stream, what does so first, and what has a connection of its own. */
class SharingTest extends Tries {
    private static final ClaimOptions CLAIM = ClaimOptions.defaults();
    private static final int OPEN_MAX = 5;
    private static final int KEEPING_MAX = 500;

    private final String address = Stand.common().address();
    private final Admin admin = admin(address);

    /** Returns more acquires than a stream takes, once it is full of them; all wait for one lease. */
    private List<CompletableFuture<Lease>> crowd(Client client, String resource) throws InterruptedException {
        List<CompletableFuture<Lease>> waiting = new ArrayList<>();
        for (int number = 0; number < OPEN_MAX + 3; number++) {
            waiting.add(client.acquireAsync(resource, LOCK.wait(s(20))));
        }
        until("they fill the stream", s(5), () -> admin.queueLength(resource) == OPEN_MAX);
        return waiting;
    }

    /** Says whether a lease is renewed while as many acquires as a stream takes wait for it. */
    private boolean isRenewedBesideWaiters(int keepingMax) throws Exception {
        Client client = connect(Narrow.room(at(address), OPEN_MAX, keepingMax));
        String resource = fresh();
        Lease lease = client.acquire(resource, LOCK.ttl(s(2)));
        List<CompletableFuture<Lease>> waiting = crowd(client, resource);
        Duration before;
        Duration left = lease.remaining();
        do {
            Thread.sleep(10);
            before = left;
            left = lease.remaining();
        } while (!left.isZero() && left.compareTo(before) <= 0);
        waiting.forEach(each -> each.cancel(true));
        return !left.isZero();
    }

    /** Says whether a lease is released while as many acquires as a stream takes wait for it. */
    private boolean isReleasedBesideWaiters(int keepingMax) throws Exception {
        Client client = connect(Narrow.room(at(address), OPEN_MAX, keepingMax));
        String resource = fresh();
        Lease lease = client.acquire(resource, LOCK.ttl(s(30)));
        List<CompletableFuture<Lease>> waiting = crowd(client, resource);
        try {
            lease.doneAsync().get(1, TimeUnit.SECONDS);
            return true;
        } catch (TimeoutException late) {
            return false;
        } finally {
            waiting.forEach(each -> each.cancel(true));
        }
    }

    @Test
    void s07AStreamFullOfWaitersHasRoomForWhatTheyWaitFor() throws Exception {
        assertTrue(isRenewedBesideWaiters(KEEPING_MAX));
        assertTrue(isReleasedBesideWaiters(KEEPING_MAX));
    }

    /** The same checks catch a client that treats all operations alike. */
    @Test
    void s07WithoutThatRoomTheyWouldWaitForEachOther() throws Exception {
        assertFalse(isRenewedBesideWaiters(0));
        assertFalse(isReleasedBesideWaiters(0));
    }

    @Test
    void s07ALateRenewalTakesNoWaiterAlong() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Client client = connect(far.address());
        String resource = fresh();
        far.fault("hold", "Renew", 1);
        Lease lease = client.acquire(resource, LOCK.ttl(s(3)));
        CompletableFuture<Lease> waiting = client.acquireAsync(resource, LOCK.wait(s(20)));
        until("it is renewed on another stream", s(4), () -> far.calls("Renew").size() > 1
                && far.count("streams") > 1
                && lease.remaining().compareTo(s(2)) > 0);
        far.letGo();
        lease.done();
        waiting.get(5, TimeUnit.SECONDS);
        assertEquals(2, far.calls("Acquire").size());
    }

    @Test
    void s07WhatEndsALeaseLeavesFirst() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Client client = connect(Narrow.room(at(far.address()), OPEN_MAX, 0));
        String resource = fresh();
        Lease held = client.acquire(resource, LOCK.ttl(s(30)));
        List<Lease> ended = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            ended.add(client.acquire(fresh(), LOCK.ttl(s(30))));
        }
        List<CompletableFuture<Lease>> waiting = crowd(client, resource);
        int before = far.calls().size();
        List<CompletableFuture<?>> asked = new ArrayList<>(List.of(client.firstAsync(fresh(), CLAIM)));
        ended.forEach(each -> asked.add(each.doneAsync()));
        asked.add(held.doneAsync());
        // That makes room for one at a time.
        waiting.get(0).cancel(true);
        CompletableFuture.allOf(asked.subList(1, asked.size()).toArray(CompletableFuture[]::new))
                .get(5, TimeUnit.SECONDS);
        List<String> released = new ArrayList<>();
        for (Stand.Seen seen : far.calls().subList(before, before + 4)) {
            assertEquals("Release", seen.method());
            released.add(ReleaseRequest.parseFrom(seen.request()).getResource());
        }
        ended.add(held);
        assertEquals(ended.stream().map(Lease::resource).toList(), released);
    }

    @Test
    void s33ReleasesAndAcquiresShareMessages() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Client client = connect(far.address());
        List<CompletableFuture<Lease>> held = new ArrayList<>();
        for (int number = 0; number < 50; number++) {
            held.add(client.acquireAsync(fresh(), LOCK));
        }
        CompletableFuture.allOf(held.toArray(CompletableFuture[]::new)).get();
        int before = far.count("frames");
        List<CompletableFuture<?>> asked = new ArrayList<>();
        for (CompletableFuture<Lease> each : held) {
            asked.add(each.get().doneAsync());
            asked.add(client.acquireAsync(fresh(), LOCK));
        }
        CompletableFuture.allOf(asked.toArray(CompletableFuture[]::new)).get();
        assertEquals(1, far.count("streams"));
        int frames = far.count("frames") - before;
        assertTrue(frames <= 25, () -> "messages: " + frames);
    }

    @Test
    void s33ASessionHasOneConnection() throws Exception {
        Relay relay = opened(new Relay(address));
        Client client = connect(relay.address());
        try (Lease lease = client.acquire(fresh(), LOCK.ttl(ms(600)))) {
            client.once(fresh(), CLAIM.ttl(ms(600)), claim -> Thread.sleep(800));
            lease.check();
        }
        assertThrows(ServiceException.class, () -> client.first("x".repeat(70_000), CLAIM));
        assertEquals(1, relay.connections());
        // This is too large for a session, and its kind has the other connection.
        assertThrows(ServiceException.class, () -> client.once(fresh(), CLAIM, claim -> {
            claim.result(new byte[70_000]);
        }));
        assertEquals(2, relay.connections());
        client.close();
        until("both are closed", s(5), () -> relay.open() == 0);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void s34WithoutSessionsThereAreTwoConnections(boolean chosen) throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        far.fault("no_sessions", "Session", 1);
        Relay relay = opened(new Relay(far.address()));
        ClientOptions options = at(relay.address());
        Client client = connect(chosen ? options.unary() : options);
        Lease lease = client.acquire(fresh(), LOCK.ttl(s(30)));
        client.first(fresh(), CLAIM);
        assertEquals(1, relay.connections(), "the other one was opened before it was used");
        lease.done();
        client.withLock(fresh(), LOCK, held -> {});
        assertEquals(2, relay.connections());
        client.close();
        until("both are closed", s(5), () -> relay.open() == 0);
    }
}
