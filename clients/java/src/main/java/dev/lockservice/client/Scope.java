package dev.lockservice.client;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.function.Function;

/** Runs work under a lease or a claim: done if it ends well, for a retry otherwise. */
final class Scope {
    private Scope() {}

    /** Work in the thread that calls. */
    interface Task<H, T, E extends Exception> {
        T call(H held) throws E;
    }

    static <H extends Holding, T, E extends Exception> T run(H held, Duration retryHold, Task<H, T, E> work) throws E {
        T value;
        Interruption interruption = new Interruption(held.renewal);
        try {
            try {
                value = work.call(held);
            } finally {
                interruption.end();
            }
        } catch (Throwable failed) {
            LeaseLostException lost = held.isEnded() ? null : held.failure();
            Reply.awaitCalmly(held.giveBack(retryHold));
            if (lost != null) {
                lost.addSuppressed(failed);
                throw lost;
            }
            throw failed;
        }
        Reply.awaitCalmly(held.end(true, Duration.ZERO, null));
        return value;
    }

    /** Work that goes on elsewhere. When the result is cancelled, so is whatever of it has begun. */
    static <H extends Holding, T> CompletableFuture<T> runAsync(
            Reply<H> reply, Duration retryHold, Function<H, ? extends CompletionStage<T>> work) {
        CompletableFuture<T> result = new CompletableFuture<>();
        result.whenComplete((value, fault) -> {
            if (result.isCancelled()) {
                reply.cancel(true);
            }
        });
        reply.whenComplete((held, refused) -> {
            if (refused != null) {
                result.completeExceptionally(refused);
            } else {
                begin(held, retryHold, work, result);
            }
        });
        return result;
    }

    private static <H extends Holding, T> void begin(
            H held, Duration retryHold, Function<H, ? extends CompletionStage<T>> work, CompletableFuture<T> result) {
        CompletableFuture<T> working;
        try {
            working = work.apply(held).toCompletableFuture();
        } catch (RuntimeException | Error failed) {
            working = CompletableFuture.failedFuture(failed);
        }
        CompletableFuture<T> begun = working;
        held.onLost(lost -> begun.cancel(true));
        result.whenComplete((value, fault) -> {
            if (result.isCancelled()) {
                begun.cancel(true);
            }
        });
        begun.whenComplete((value, failed) -> {
            // The loss comes first: it is why the work was cancelled.
            LeaseLostException lost = held.isEnded() ? null : held.failure();
            Throwable why = lost == null ? failed : lost;
            CompletableFuture<Void> ending = why == null ? held.end(true, Duration.ZERO, null) : held.giveBack(retryHold);
            held.apart(ending).whenComplete((done, fault) -> finish(result, value, why != null ? why : fault));
        });
    }

    private static <T> void finish(CompletableFuture<T> result, T value, Throwable failed) {
        if (failed == null) {
            result.complete(value);
        } else {
            result.completeExceptionally(failed instanceof CompletionException wrapped ? wrapped.getCause() : failed);
        }
    }
}
