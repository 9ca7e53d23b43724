package dev.lockservice.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Consumer;

/**
 * What a call will have given. Cancelled, it takes the call back; a value that comes at that moment is thrown away
 * properly.
 *
 * @param <T> of the value
 */
final class Reply<T> extends CompletableFuture<T> {
    private final Executor executor;
    private final Consumer<T> discard;
    private volatile Call call;

    /**
     * Makes one.
     *
     * @param executor where it is completed, and so where what depends on it runs
     * @param discard sees to a value that nobody takes
     */
    Reply(Executor executor, Consumer<T> discard) {
        this.executor = executor;
        this.discard = discard;
    }

    void of(Call made) {
        call = made;
        if (isCancelled()) {
            made.cancel();
        }
    }

    void give(T value) {
        execute(() -> {
            if (!complete(value)) {
                discard.accept(value);
            }
        });
    }

    void fail(Throwable fault) {
        execute(() -> completeExceptionally(fault));
    }

    private void execute(Runnable completion) {
        try {
            executor.execute(completion);
        } catch (RejectedExecutionException shutDown) {
            // Whoever waits must hear of it all the same.
            completion.run();
        }
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
        boolean taken = super.cancel(mayInterrupt);
        if (taken && call != null) {
            call.cancel();
        }
        return taken;
    }

    /** Waits for the value. Interrupted, it takes the call back. */
    T await() throws InterruptedException {
        try {
            return get();
        } catch (InterruptedException interrupted) {
            if (!cancel(true) && !isCompletedExceptionally()) {
                discard.accept(join());
            }
            throw interrupted;
        } catch (ExecutionException failed) {
            throw thrown(failed);
        }
    }

    /** Waits for a value which comes in bounded time, and leaves an interruption for later. */
    static <T> T awaitCalmly(CompletableFuture<T> future) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return future.get();
                } catch (InterruptedException again) {
                    interrupted = true;
                } catch (ExecutionException failed) {
                    throw thrown(failed);
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static RuntimeException thrown(ExecutionException failed) {
        if (failed.getCause() instanceof LockserviceException known) {
            // The trace of the caller says more than that of the loop.
            known.fillInStackTrace();
            return known;
        }
        return new IllegalStateException(failed.getCause());
    }
}
