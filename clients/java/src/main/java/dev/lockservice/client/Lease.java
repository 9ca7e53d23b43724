package dev.lockservice.client;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/** A lease, held and renewed until {@link #done}, {@link #retry} or {@link #close}. */
public final class Lease extends Holding implements AutoCloseable {
    private final Service service;
    private final Grant grant;

    /** What the service granted. */
    record Grant(
            String resource,
            String id,
            long fencingToken,
            PreviousLease previous,
            long completedVersion,
            boolean tie,
            Duration waited) {}

    Lease(Service service, Grant grant, Renewal renewal) {
        super(renewal, "the lease on " + grant.resource(), service.executor());
        this.service = service;
        this.grant = grant;
    }

    /**
     * What is locked.
     *
     * @return its name
     */
    public String resource() {
        return grant.resource();
    }

    /**
     * The secret that renew and release present.
     *
     * @return the lease's id
     */
    public String id() {
        return grant.id();
    }

    /**
     * A number that rises with every grant of the resource. Let the store refuse a lower one than it has seen.
     *
     * @return the token, below 2^53
     */
    public long fencingToken() {
        return grant.fencingToken();
    }

    /**
     * How the lease before ended.
     *
     * @return its end
     */
    public PreviousLease previous() {
        return grant.previous();
    }

    /**
     * The highest version that was released as done.
     *
     * @return that version; -1: none was
     */
    public long completedVersion() {
        return grant.completedVersion();
    }

    /**
     * Whether {@link #completedVersion} equals this event's: two events of one instant, so fetch the entity afresh.
     *
     * @return whether it does
     */
    public boolean tie() {
        return grant.tie();
    }

    /**
     * The time in the queue.
     *
     * @return how long it waited
     */
    public Duration waited() {
        return grant.waited();
    }

    /**
     * Releases it as done: its version and its event are recorded.
     *
     * @throws LeaseLostException it had ended before, and nothing was recorded
     * @throws ServiceException the service could not do it
     */
    public void done() {
        Reply.awaitCalmly(end(true, Duration.ZERO, null));
    }

    /**
     * Releases it as done, as {@link #done} does.
     *
     * @return completed when it is
     */
    public CompletableFuture<Void> doneAsync() {
        return apart(end(true, Duration.ZERO, null));
    }

    /**
     * Releases it for a retry: nothing is recorded, and a redelivery is processed.
     *
     * @param hold up to 1 h; for so long the resource is kept for the retry of the same event
     * @throws LeaseLostException it had ended before
     * @throws ServiceException the service could not do it
     */
    public void retry(Duration hold) {
        Reply.awaitCalmly(end(false, hold, null));
    }

    /**
     * Releases it for a retry, as {@link #retry} does.
     *
     * @param hold up to 1 h
     * @return completed when it is
     */
    public CompletableFuture<Void> retryAsync(Duration hold) {
        return apart(end(false, hold, null));
    }

    /** Releases it for a retry unless it has ended: what broke off is repeated, never recorded. */
    @Override
    public void close() {
        Reply.awaitCalmly(giveBack(Duration.ZERO));
    }

    @Override
    public String toString() {
        return "Lease[" + resource() + ", token " + fencingToken() + "]";
    }

    @Override
    Reply<Boolean> tell(boolean done, Duration hold, Duration within) {
        return service.release(grant, done, hold, within);
    }
}
