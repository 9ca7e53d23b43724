package dev.lockservice.client;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/** What a lease and a claim have in common: they are kept alive until they are ended, and may be lost before. */
abstract sealed class Holding permits Lease, Claim {
    /** What is about to end is still worth one try to give it back. */
    private static final Duration GIVE_BACK_MIN = Duration.ofMillis(100);

    final Renewal renewal;
    private final String what;
    private final Executor executor;
    private final AtomicBoolean ended = new AtomicBoolean();

    Holding(Renewal renewal, String what, Executor executor) {
        this.renewal = renewal;
        this.what = what;
        this.executor = executor;
    }

    /** Tells the service; the reply says whether it was still held. Within is null for as long as calls may take. */
    abstract Reply<Boolean> tell(boolean done, Duration hold, Duration within);

    /**
     * How long the holder may still believe that it holds.
     *
     * @return the time; zero once it is lost
     */
    public Duration remaining() {
        return renewal.remaining();
    }

    /**
     * Looks whether it is still held. Call it between the steps of long work.
     *
     * @throws LeaseLostException it is not
     */
    public void check() {
        LeaseLostException lost = renewal.failure();
        if (lost != null) {
            throw lost;
        }
    }

    /**
     * Has a listener told when it is lost, before it can end at the service; at once if it is lost already.
     *
     * @param listener runs in the executor of the client's options
     */
    public void onLost(Consumer<LeaseLostException> listener) {
        renewal.onLost(lost -> executor.execute(() -> listener.accept(lost)));
    }

    boolean isEnded() {
        return ended.get();
    }

    LeaseLostException failure() {
        return renewal.failure();
    }

    CompletableFuture<Void> end(boolean done, Duration hold, Duration within) {
        if (!ended.compareAndSet(false, true)) {
            return CompletableFuture.completedFuture(null);
        }
        LeaseLostException lost = renewal.failure();
        renewal.end();
        if (lost != null) {
            return CompletableFuture.failedFuture(lost);
        }
        return tell(done, hold, within).thenAccept(held -> {
            if (!held) {
                throw new LeaseLostException(what, "it had ended before the work did: nothing was recorded");
            }
        });
    }

    /** Has what a caller does next run in the executor: in the loop it would hold up renewals. */
    <T> CompletableFuture<T> apart(CompletableFuture<T> future) {
        return future.thenApplyAsync(value -> value, executor);
    }

    /** Frees it if that can be done while it lasts; what the work ended by matters more than this. */
    CompletableFuture<Void> giveBack(Duration hold) {
        Duration left = remaining();
        Duration within = left.compareTo(GIVE_BACK_MIN) > 0 ? left : GIVE_BACK_MIN;
        return end(false, hold, within).exceptionally(fault -> null);
    }
}
