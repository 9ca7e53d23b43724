package dev.lockservice.client;

import com.google.protobuf.Message;
import dev.lockservice.v1.Operation;
import java.util.concurrent.Future;

/** An operation that waits to be sent or answered. */
final class Pending {
    /** Hears what came of an operation: an answer, or a fault. */
    interface Told {
        void told(Message answer, ServiceException fault);
    }

    final Operation operation;
    final boolean givesBack;
    private final long limitNanos;
    private final long askedNanos = System.nanoTime();
    private final Told told;
    private Future<?> late;
    private Stream stream;
    private long number;
    private long sentNanos;
    private boolean over;

    Pending(Operation operation, long limitNanos, boolean givesBack, Told told) {
        this.operation = operation;
        this.limitNanos = limitNanos;
        this.givesBack = givesBack;
        this.told = told;
    }

    /** Says whether nobody awaits it any more. */
    boolean isOver() {
        return over;
    }

    void limit(Loop loop, Runnable tooLate) {
        late = loop.after(limitNanos, tooLate);
    }

    void sent(Stream by, long as, long now) {
        stream = by;
        number = as;
        sentNanos = now;
    }

    /** The stream on which it was sent; null: it was not. */
    Stream stream() {
        return stream;
    }

    long number() {
        return number;
    }

    /** Ends it without a word: its caller has gone. */
    void leave() {
        over = true;
        if (late != null) {
            late.cancel(false);
        }
    }

    void settle(Message answer, ServiceException fault) {
        if (!over) {
            leave();
            told.told(answer, fault);
        }
    }

    /** Says whether nothing has come on its stream since it was sent there, long enough before its time was over. */
    boolean metSilence() {
        return stream != null
                && stream.isOpen(this)
                && (!stream.hasHeard() || stream.heardNanos() - sentNanos < 0)
                && sentNanos - askedNanos <= limitNanos / 2;
    }
}
