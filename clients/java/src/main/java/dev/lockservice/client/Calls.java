package dev.lockservice.client;

import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Message;
import dev.lockservice.v1.LockServiceGrpc.LockServiceFutureStub;
import dev.lockservice.v1.Operation;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** The calls of a client, which travel in a session where the service has them. */
final class Calls {
    final Loop loop;
    final Faults faults;
    /** For the session, and for calls of their own that may wait. */
    private final Connection asking;
    /** For calls of their own that keep or end a lease: behind many that wait for it they could come too late. */
    private final Connection apart;

    private final Session session;
    private final Set<Call> pausing = new HashSet<>();
    private boolean unary;
    private boolean closing;

    /** How a call is made: the time for one attempt, beside its wait, and for all of them. */
    record How(Duration timeout, Duration retryFor, Duration waiting, boolean givesBack) {}

    Calls(Loop loop, Target target, ClientOptions options) {
        this.loop = loop;
        faults = new Faults(target.address());
        asking = new Connection(target);
        apart = new Connection(target);
        session = new Session(loop, asking.streams(), faults, options);
        unary = options.unary;
    }

    /** Makes a call; from any thread. It is told in the loop. */
    Call call(Operation operation, How how, Call.Told told) {
        Call made = new Call(this, operation, how, told);
        loop.run(made::begin);
        return made;
    }

    /** Sends it once, in the loop, and returns what takes it back. */
    Runnable send(Operation operation, long limitNanos, boolean givesBack, Pending.Told told) {
        if (unary || operation.getSerializedSize() > Call.OPERATION_BYTES_MAX) {
            return sendAlone(operation, limitNanos, told);
        }
        Pending pending = session.call(operation, limitNanos, givesBack, told);
        return () -> session.leave(pending);
    }

    /** Goes on without sessions. */
    void withoutSessions() {
        unary = true;
    }

    /** Has connections that have failed tried again now, or soon. */
    void reconnect() {
        asking.reconnect();
        apart.reconnect();
    }

    /** Says whether a call may wait for its repetition, and remembers that it does. */
    boolean pauses(Call call) {
        return !closing && pausing.add(call);
    }

    void goesOn(Call call) {
        pausing.remove(call);
    }

    /** Closes the session, in the loop; whenClosed hears of it there. */
    void close(Runnable whenClosed) {
        closing = true;
        List.copyOf(pausing).forEach(Call::close);
        session.close(whenClosed);
    }

    /** Closes the connections, which may take a second each. */
    void disconnect() throws InterruptedException {
        asking.shutDown();
        apart.shutDown();
        asking.awaitEnd();
        apart.awaitEnd();
    }

    private Runnable sendAlone(Operation operation, long limitNanos, Pending.Told told) {
        if (closing) {
            told.told(null, faults.closed());
            return () -> {};
        }
        LockServiceFutureStub stub = (Operations.waits(operation) ? asking : apart).stub();
        ListenableFuture<? extends Message> answer =
                Operations.unary(operation, stub.withDeadlineAfter(limitNanos, TimeUnit.NANOSECONDS));
        answer.addListener(() -> loop.run(() -> tell(answer, told)), Runnable::run);
        return () -> answer.cancel(true);
    }

    private void tell(ListenableFuture<? extends Message> answer, Pending.Told told) {
        if (answer.isCancelled()) {
            return;
        }
        try {
            told.told(Futures.getDone(answer), null);
        } catch (ExecutionException failed) {
            told.told(null, closing ? faults.closed() : faults.ofCall(failed.getCause()));
        }
    }
}
