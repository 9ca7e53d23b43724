package dev.lockservice.client;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.function.Consumer;

/**
 * Keeps a lease or a claim alive in the background, and says when it is lost before it can end elsewhere. It renews at
 * a third of the ttl. The lease cannot end sooner than ttl after the request that was granted had left, and the holder
 * must not believe in it for longer.
 */
final class Renewal {
    /** The holder's clock may run slower than the shard's: it stops believing this much before the end. */
    private static final double DRIFT = 0.01;

    private static final long DRIFT_NANOS = Duration.ofMillis(10).toNanos();
    private static final long AGAIN_NANOS = Duration.ofMillis(50).toNanos();
    private static final long FIRST_MIN_NANOS = Duration.ofSeconds(1).toNanos();
    /** Renewals that are due within this part of the ttl are made at one moment, the earliest, and share a message. */
    private static final int TOGETHER_PART = 100;

    private static final long EPOCH_NANOS = System.nanoTime();

    /** Renews, and tells whether it is still held; a fault means that nobody knows. */
    interface Renew {
        Call renew(Duration timeout, Duration retryFor, Told told);
    }

    /** Hears of a renewal, in the loop. */
    interface Told {
        void told(boolean held, ServiceException fault);
    }

    private final Loop loop;
    private final Renew renew;
    private final long ttlNanos;
    private final String what;
    private volatile long sentNanos;
    private volatile LeaseLostException lost;
    private volatile boolean stopped;
    private final List<Consumer<LeaseLostException>> listeners = new ArrayList<>();
    private Future<?> timer;
    private Future<?> late;
    private Call call;

    Renewal(Loop loop, Renew renew, Duration ttl, long sentNanos, String what) {
        this.loop = loop;
        this.renew = renew;
        this.ttlNanos = ttl.toNanos();
        this.sentNanos = sentNanos;
        this.what = what;
    }

    /**
     * Begins, in the loop; after a long wait it renews first, since only the service knows when the grant was made.
     * What it is told is null when the holder may begin.
     */
    void start(Duration retryFor, Consumer<LockserviceException> begun) {
        if (System.nanoTime() - sentNanos <= ttlNanos / 3) {
            setTimer();
            begun.accept(null);
            return;
        }
        long began = System.nanoTime();
        Duration timeout = Duration.ofNanos(Math.max(attemptNanos(), FIRST_MIN_NANOS));
        call = renew.renew(timeout, retryFor, (held, fault) -> {
            if (held) {
                sentNanos = began;
            } else if (fault == null) {
                lose("it had ended before its holder could begin");
            }
            LockserviceException failed = fault != null ? fault : failure();
            if (failed == null) {
                setTimer();
            }
            begun.accept(failed);
        });
    }

    /** How long the holder may still believe that it holds. */
    Duration remaining() {
        return lost != null ? Duration.ZERO : Duration.ofNanos(Math.max(0, endNanos() - System.nanoTime()));
    }

    /** Why it is lost; null: it is not. */
    LeaseLostException failure() {
        if (lost == null && endNanos() - System.nanoTime() <= 0) {
            return new LeaseLostException(what, "its time is over");
        }
        return lost;
    }

    /** Has a listener told of the loss, at once if it is lost; in the loop's thread, so it must be quick. */
    void onLost(Consumer<LeaseLostException> listener) {
        synchronized (listeners) {
            if (lost == null) {
                listeners.add(listener);
                return;
            }
        }
        listener.accept(lost);
    }

    /** Renews no more; from any thread. */
    void end() {
        stopped = true;
        loop.run(this::cancel);
    }

    private void cancel() {
        for (Future<?> each : new Future<?>[] {timer, late}) {
            if (each != null) {
                each.cancel(false);
            }
        }
        if (call != null) {
            call.cancel();
        }
    }

    private long endNanos() {
        return sentNanos + (long) (ttlNanos * (1 - DRIFT)) - DRIFT_NANOS;
    }

    private long attemptNanos() {
        return Math.max(AGAIN_NANOS, ttlNanos / 6);
    }

    private void setTimer() {
        if (!stopped) {
            long grain = Math.max(1, ttlNanos / TOGETHER_PART);
            long due = (sentNanos - EPOCH_NANOS + ttlNanos / 3) / grain * grain + EPOCH_NANOS;
            timer = loop.after(due - System.nanoTime(), this::keep);
        }
    }

    private void keep() {
        if (stopped) {
            return;
        }
        long left = endNanos() - System.nanoTime();
        if (left <= 0) {
            // The process was stopped. Others may hold it: a renewal would only take time.
            lose("its time was over while this process did not run");
            return;
        }
        // Whatever happens on the way, the holder hears of the loss in time.
        late = loop.after(left, () -> lose("it could not be renewed in time"));
        attempt();
    }

    private void attempt() {
        if (stopped) {
            return;
        }
        long began = System.nanoTime();
        call = renew.renew(Duration.ofNanos(attemptNanos()), remaining(), (held, fault) -> renewed(began, held, fault));
    }

    private void renewed(long began, boolean held, ServiceException fault) {
        if (stopped) {
            return;
        }
        if (held) {
            late.cancel(false);
            sentNanos = began;
            setTimer();
        } else if (fault == null) {
            lose("it expired, or was released by force");
        } else if (fault instanceof UnavailableException
                || fault.code() == io.grpc.Status.Code.DEADLINE_EXCEEDED) {
            timer = loop.after(AGAIN_NANOS, this::attempt);
        } else {
            lose("it cannot be renewed: " + fault.getMessage());
        }
    }

    private void lose(String why) {
        if (stopped) {
            return;
        }
        stopped = true;
        cancel();
        List<Consumer<LeaseLostException>> told;
        synchronized (listeners) {
            lost = new LeaseLostException(what, why);
            told = List.copyOf(listeners);
        }
        // Each by itself: an executor that refuses one listener keeps nothing from the others.
        told.forEach(listener -> loop.run(() -> listener.accept(lost)));
    }
}
