package dev.lockservice.client;

import dev.lockservice.v1.LockServiceGrpc;
import dev.lockservice.v1.LockServiceGrpc.LockServiceFutureStub;
import dev.lockservice.v1.LockServiceGrpc.LockServiceStub;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** A connection to the service, which its first call opens. */
final class Connection {
    /** gRPC's own pauses between connections grow to 2 min: a lease would run out beside a service that is back. */
    private static final long RECONNECT_NANOS = Duration.ofMillis(100).toNanos();

    private static final long CLOSE_S = 1;

    private final ManagedChannel channel;
    private final LockServiceFutureStub stub;
    private long reconnectedNanos = System.nanoTime() - RECONNECT_NANOS;

    Connection(Target target) {
        channel = target.channel();
        stub = LockServiceGrpc.newFutureStub(channel);
    }

    /** For calls of their own. */
    LockServiceFutureStub stub() {
        return stub;
    }

    /** For the streams of a session. */
    LockServiceStub streams() {
        return LockServiceGrpc.newStub(channel);
    }

    /** Has it tried again now, or soon, if it has failed. */
    void reconnect() {
        if (System.nanoTime() - reconnectedNanos >= RECONNECT_NANOS
                && channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
            reconnectedNanos = System.nanoTime();
            channel.resetConnectBackoff();
        }
    }

    /** Begins its end: what is still open on it fails. */
    void shutDown() {
        channel.shutdownNow();
    }

    /** Waits for its end, which may take a second. */
    void awaitEnd() throws InterruptedException {
        channel.awaitTermination(CLOSE_S, TimeUnit.SECONDS);
    }
}
