package dev.lockservice.client;

import com.google.protobuf.Message;
import dev.lockservice.v1.LockServiceGrpc.LockServiceStub;
import dev.lockservice.v1.Operation;
import dev.lockservice.v1.OperationResult;
import dev.lockservice.v1.SessionResponse;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Carries operations over one stream at a time, and opens the next one when it has ended. What is asked for in one turn
 * of the loop leaves in one message. Everything here runs in the loop.
 */
final class Session {
    private static final long GIVE_BACK_WITHIN_NANOS = Duration.ofSeconds(5).toNanos();
    private static final long CLOSE_WITHIN_NANOS = Duration.ofSeconds(1).toNanos();
    /** Clients that were started together do not all move at one moment. */
    private static final double AGE_JITTER = 0.1;

    private final Loop loop;
    private final LockServiceStub stub;
    private final Faults faults;
    private final long ageNanos;
    private final Unsent unsent;
    /** One that is too old, or of a draining replica, gets nothing new, but still answers. */
    private final Set<Stream> streams = new HashSet<>();

    private Stream stream;
    private long last;
    private boolean flushing;
    private Runnable closed;
    private boolean ended;

    Session(Loop loop, LockServiceStub stub, Faults faults, ClientOptions options) {
        this.loop = loop;
        this.stub = stub;
        this.faults = faults;
        ageNanos = options.streamAge.toNanos();
        unsent = new Unsent(options.openMax, options.keepingMax);
    }

    Pending call(Operation operation, long limitNanos, boolean givesBack, Pending.Told told) {
        Pending pending = new Pending(operation, limitNanos, givesBack, told);
        if (closed != null) {
            pending.settle(null, faults.closed());
            return pending;
        }
        pend(pending);
        return pending;
    }

    /** Sees to an operation whose caller has gone: its result may still come. */
    void leave(Pending pending) {
        if (!pending.isOver()) {
            pending.leave();
            withdraw(pending);
        }
    }

    /** Gives up what waits, lets the rest come through for up to a second, and ends the streams. */
    void close(Runnable whenClosed) {
        if (ended) {
            whenClosed.run();
            return;
        }
        closed = whenClosed;
        for (Pending pending : awaited()) {
            if (Operations.waits(pending.operation)) {
                pending.settle(null, faults.closed());
                withdraw(pending);
            }
        }
        loop.after(CLOSE_WITHIN_NANOS, this::end);
        tellEmpty();
    }

    long nextNumber() {
        return ++last;
    }

    void flushSoon() {
        if (unsent.size() > 1 || streams.stream().anyMatch(each -> !each.open().isEmpty())) {
            loop.gather();
        }
        if (!flushing) {
            flushing = true;
            loop.atEnd(this::flush);
        }
    }

    /** Hands results to their callers; what was granted to nobody is given back. */
    void take(Stream by, SessionResponse frame) {
        for (OperationResult result : frame.getResultsList()) {
            Pending pending = by.answered(result.getId());
            if (pending != null) {
                answer(by, pending, result);
            }
        }
        flushSoon();
        tellEmpty();
    }

    /** Fails what was open, so that it is repeated on the next stream; error is null after OK. */
    void ended(Stream by, Throwable error) {
        if (!streams.contains(by)) {
            return;
        }
        boolean current = by == stream;
        boolean aged = error == null && by.hasHeard();
        forget(by, error);
        if (current && aged) {
            // A replica may end a stream for its age. What was not sent has lost nothing.
            goOn();
        } else if (current) {
            List<Pending> failed = unsent.all();
            unsent.clear();
            failed.forEach(pending -> pending.settle(null, faults.ofStream(error)));
        }
        tellEmpty();
    }

    private void flush() {
        flushing = false;
        // What is sent may open or end streams.
        for (Stream each : List.copyOf(streams)) {
            each.flush(unsent);
        }
    }

    private void pend(Pending pending) {
        pending.limit(loop, () -> tooLate(pending));
        unsent.add(pending);
        if (stream != null && stream.isOld()) {
            stream.retire();
            stream = null;
        }
        goOn();
        flushSoon();
    }

    /** Opens the next stream if something waits to be sent. */
    private void goOn() {
        if (stream == null && !unsent.isEmpty()) {
            double jitter = 1 + AGE_JITTER * (2 * ThreadLocalRandom.current().nextDouble() - 1);
            stream = new Stream(loop, this, System.nanoTime() + (long) (ageNanos * jitter));
            streams.add(stream);
            stub.session(stream);
            flushSoon();
        }
    }

    /** Ends an operation that has run out of time, and leaves a stream on which nothing comes. */
    private void tooLate(Pending pending) {
        if (pending.isOver()) {
            return;
        }
        boolean silent = pending.metSilence();
        pending.settle(null, faults.late());
        if (silent) {
            goElsewhere(pending);
        } else {
            withdraw(pending);
        }
    }

    /**
     * Leaves a stream on which nothing came until an operation was out of time. A frozen replica would hold up every
     * repetition: the next stream may lead to another. But a renewal is soon out of time, where a replica may only be
     * slow, and thousands that wait there would be asked again for it: they stay until one of them is out of time.
     */
    private void goElsewhere(Pending late) {
        Stream left = late.stream();
        List<Pending> keeping = left.open().values().stream()
                .filter(each -> !Operations.waits(each.operation))
                .toList();
        if (Operations.waits(late.operation) || keeping.size() == left.open().size()) {
            forget(left, null);
            left.drop();
            goOn();
            return;
        }
        keeping.forEach(each -> left.open().remove(each.number()));
        keeping.forEach(each -> each.settle(null, faults.ofStream(null)));
        retire(left);
    }

    private void withdraw(Pending pending) {
        Stream by = pending.stream();
        if (by != null && Operations.waits(pending.operation) && by.isOpen(pending)) {
            by.withdraw(pending);
            flushSoon();
        }
    }

    private void answer(Stream by, Pending pending, OperationResult result) {
        Message answer = Operations.response(result);
        ServiceException fault = null;
        if (result.hasError()) {
            fault = faults.ofCall(result.getError());
            if (fault.reason().equals("DRAINING")) {
                retire(by);
            }
        } else if (answer == null) {
            fault = faults.unknown("an answer of another kind");
        }
        if (pending.isOver()) {
            giveBack(pending, answer);
        } else {
            pending.settle(answer, fault);
        }
    }

    private void retire(Stream by) {
        by.retire();
        if (by == stream) {
            stream = null;
            goOn();
        }
    }

    /** Frees what was granted to a caller that has gone, or others would be kept off until its ttl ends. */
    private void giveBack(Pending pending, Message answer) {
        if (pending.givesBack && !ended) {
            Operations.undo(pending.operation, answer)
                    .ifPresent(undo -> pend(new Pending(undo, GIVE_BACK_WITHIN_NANOS, false, (done, fault) -> {})));
        }
    }

    private void forget(Stream by, Throwable error) {
        streams.remove(by);
        if (by == stream) {
            stream = null;
        }
        List<Pending> failed = List.copyOf(by.open().values());
        by.open().clear();
        failed.forEach(pending -> pending.settle(null, faults.ofStream(error)));
    }

    private List<Pending> awaited() {
        List<Pending> found = unsent.all();
        streams.forEach(each -> found.addAll(each.open().values()));
        found.removeIf(Pending::isOver);
        return found;
    }

    private void tellEmpty() {
        if (closed != null && awaited().isEmpty() && streams.stream().allMatch(each -> each.open().isEmpty())) {
            end();
        }
    }

    private void end() {
        if (ended) {
            return;
        }
        ended = true;
        for (Pending pending : awaited()) {
            pending.settle(null, faults.closed());
        }
        for (Stream each : List.copyOf(streams)) {
            streams.remove(each);
            each.drop();
        }
        stream = null;
        closed.run();
    }
}
