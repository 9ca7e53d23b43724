package dev.lockservice.client;

import com.google.protobuf.Message;
import dev.lockservice.client.Calls.How;
import dev.lockservice.client.Faults.NoSessionsException;
import dev.lockservice.v1.Operation;
import java.time.Duration;
import java.util.concurrent.Future;

/**
 * A call that is repeated, as it is, while the service is unavailable or when its answer was lost: its ids make that
 * safe. Nothing else is ever repeated.
 */
final class Call {
    /** No good request is as large, and one that gRPC refuses for its size must not take the stream along. */
    static final int OPERATION_BYTES_MAX = 65_536;

    /** A waiting call is answered when its wait is over; this is for the way. */
    private static final long WAIT_MARGIN_NANOS = Duration.ofSeconds(5).toNanos();

    /** Hears what came of a call, and when the request that was answered had left. */
    interface Told {
        void told(Message answer, long sentNanos, ServiceException fault);
    }

    private final Calls calls;
    private final How how;
    private final Told told;
    private final long beganNanos = System.nanoTime();
    private Operation operation;
    private long sentNanos = beganNanos;
    private int repetitions;
    private Runnable takeBack = () -> {};
    private Future<?> pause;
    private boolean cancelled;

    Call(Calls calls, Operation operation, How how, Told told) {
        this.calls = calls;
        this.operation = operation;
        this.how = how;
        this.told = told;
    }

    void begin() {
        if (!cancelled) {
            attempt();
        }
    }

    /** Takes it back, from any thread; it is not told any more. What is granted to it is given back. */
    void cancel() {
        calls.loop.run(() -> {
            cancelled = true;
            takeBack.run();
            endPause();
        });
    }

    /** Gives up its repetition, since its client is closed; in the loop. */
    void close() {
        endPause();
        told.told(null, sentNanos, calls.faults.closed());
    }

    private void endPause() {
        if (pause != null) {
            pause.cancel(false);
            calls.goesOn(this);
        }
    }

    private void attempt() {
        long limit = how.timeout().toNanos();
        if (!how.waiting().isZero()) {
            limit = waitLeft() + WAIT_MARGIN_NANOS;
        }
        takeBack = calls.send(operation, limit, how.givesBack(), this::answered);
    }

    private long waitLeft() {
        return Math.max(0, how.waiting().toNanos() - (sentNanos - beganNanos));
    }

    private void answered(Message answer, ServiceException fault) {
        if (cancelled) {
            return;
        }
        if (fault instanceof NoSessionsException) {
            calls.withoutSessions();
            attempt();
        } else if (fault instanceof UnavailableException) {
            again(fault);
        } else {
            told.told(answer, sentNanos, fault);
        }
    }

    private void again(ServiceException fault) {
        long pauseNanos = RetryPolicy.RETRIES.pauseNanos(repetitions);
        long delay = Math.max(pauseNanos, fault.retryAfter().toNanos());
        long within = Math.max(how.retryFor().toNanos(), how.waiting().toNanos());
        if (System.nanoTime() - beganNanos + delay > within || !calls.pauses(this)) {
            told.told(null, sentNanos, fault);
            return;
        }
        repetitions++;
        pause = calls.loop.after(delay, this::repeat);
    }

    private void repeat() {
        if (cancelled) {
            return;
        }
        calls.goesOn(this);
        calls.reconnect();
        sentNanos = System.nanoTime();
        if (!how.waiting().isZero()) {
            operation = Operations.waiting(operation, waitLeft());
        }
        attempt();
    }
}
