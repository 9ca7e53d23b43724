package dev.lockservice.client;

import dev.lockservice.v1.CancelOperation;
import dev.lockservice.v1.Operation;
import dev.lockservice.v1.SessionRequest;
import dev.lockservice.v1.SessionResponse;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;

/** One gRPC stream of a session, and the operations that it still owes an answer. */
final class Stream implements ClientResponseObserver<SessionRequest, SessionResponse> {
    private static final int OPERATIONS_PER_FRAME_MAX = 1_000;
    /** gRPC refuses a message of 4 MiB unless it is told otherwise. */
    private static final int FRAME_BYTES_MAX = 1 << 20;

    private final Loop loop;
    private final Session session;
    private final long movesNanos;
    private final Map<Long, Pending> open = new HashMap<>();
    private final Deque<Long> cancels = new ArrayDeque<>();
    private ClientCallStreamObserver<SessionRequest> wire;
    private boolean retired;
    private boolean halfClosed;
    private boolean hasHeard;
    private long heardNanos;

    Stream(Loop loop, Session session, long movesNanos) {
        this.loop = loop;
        this.session = session;
        this.movesNanos = movesNanos;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<SessionRequest> call) {
        wire = call;
        call.setOnReadyHandler(() -> loop.run(session::flushSoon));
    }

    @Override
    public void onNext(SessionResponse frame) {
        loop.run(() -> session.take(this, frame));
    }

    @Override
    public void onError(Throwable error) {
        loop.run(() -> session.ended(this, error));
    }

    @Override
    public void onCompleted() {
        loop.run(() -> session.ended(this, null));
    }

    boolean isOpen(Pending pending) {
        return open.get(pending.number()) == pending;
    }

    /** Says whether another shall follow it. */
    boolean isOld() {
        return System.nanoTime() - movesNanos >= 0;
    }

    boolean hasHeard() {
        return hasHeard;
    }

    long heardNanos() {
        return heardNanos;
    }

    Map<Long, Pending> open() {
        return open;
    }

    /** Gives it nothing new; it still answers, and ends then. */
    void retire() {
        retired = true;
    }

    void withdraw(Pending pending) {
        cancels.add(pending.number());
    }

    /** Returns the operation which a result answers; null: nobody awaits it. */
    Pending answered(long number) {
        hasHeard = true;
        heardNanos = System.nanoTime();
        return open.remove(number);
    }

    void drop() {
        halfClosed = true;
        wire.cancel("left by its client", null);
    }

    /** Sends what there is to send, message by message, while the connection takes it; retired, only cancellations. */
    void flush(Unsent unsent) {
        while (!halfClosed && wire.isReady()) {
            SessionRequest frame = fill(unsent);
            if (frame.getOperationsCount() > 0) {
                wire.onNext(frame);
            } else {
                if (retired && open.isEmpty()) {
                    halfClosed = true;
                    wire.onCompleted();
                }
                return;
            }
        }
    }

    private SessionRequest fill(Unsent unsent) {
        SessionRequest.Builder frame = SessionRequest.newBuilder();
        while (!cancels.isEmpty() && frame.getOperationsCount() < OPERATIONS_PER_FRAME_MAX) {
            frame.addOperationsBuilder().setCancel(CancelOperation.newBuilder().setId(cancels.remove()));
        }
        int bytes = 0;
        long now = System.nanoTime();
        while (!retired
                && unsent.hasNext(open.size())
                && bytes < FRAME_BYTES_MAX
                && frame.getOperationsCount() < OPERATIONS_PER_FRAME_MAX) {
            Pending pending = unsent.next();
            if (!pending.isOver()) {
                long number = session.nextNumber();
                pending.sent(this, number, now);
                open.put(number, pending);
                Operation numbered = pending.operation.toBuilder().setId(number).build();
                bytes += numbered.getSerializedSize();
                frame.addOperations(numbered);
            }
        }
        return frame.build();
    }
}
