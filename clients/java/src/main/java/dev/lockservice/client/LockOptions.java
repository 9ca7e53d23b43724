package dev.lockservice.client;

import java.time.Duration;
import java.util.function.Consumer;

/** How a lease is taken. Each method returns other options, and leaves these as they are. */
public final class LockOptions implements Cloneable {
    private static final LockOptions DEFAULTS = new LockOptions();

    Duration ttl = Duration.ofSeconds(10);
    Duration wait = Duration.ZERO;
    Duration retention = Duration.ZERO;
    Duration retryHold = Duration.ZERO;
    Long version;
    Long afterVersion;
    boolean allowStale;
    String eventId = "";
    String requestId;

    private LockOptions() {}

    /**
     * A ttl of 10 s, and no wait.
     *
     * @return options to go on from
     */
    public static LockOptions defaults() {
        return DEFAULTS;
    }

    /**
     * How long the lease lasts without renewal.
     *
     * @param ttl 100 ms to 1 h
     * @return options with it
     */
    public LockOptions ttl(Duration ttl) {
        return with(made -> made.ttl = ttl);
    }

    /**
     * How long to queue.
     *
     * @param wait up to 1 h
     * @return options with it
     */
    public LockOptions wait(Duration wait) {
        return with(made -> made.wait = wait);
    }

    /**
     * The version of the entity which the event carries.
     *
     * @param version 0 to 2^53 - 1
     * @return options with it
     */
    public LockOptions version(long version) {
        return with(made -> made.version = version);
    }

    /**
     * Waits until the entity has been completed up to this version.
     *
     * @param version 0 to 2^53 - 1
     * @return options with it
     */
    public LockOptions afterVersion(long version) {
        return with(made -> made.afterVersion = version);
    }

    /**
     * Takes the lease even if a newer version has been completed.
     *
     * @return options with it
     */
    public LockOptions allowStale() {
        return with(made -> made.allowStale = true);
    }

    /**
     * Refuses an event that was completed on this resource before.
     *
     * @param id up to 512 bytes
     * @return options with it
     */
    public LockOptions eventId(String id) {
        return with(made -> made.eventId = id);
    }

    /**
     * How long the event is remembered; a day unless told otherwise.
     *
     * @param retention 1 s to 30 d
     * @return options with it
     */
    public LockOptions retention(Duration retention) {
        return with(made -> made.retention = retention);
    }

    /**
     * Gives the same lease to the same id again; a random id unless told otherwise.
     *
     * @param id up to 128 bytes; empty: nothing is remembered of the request
     * @return options with it
     */
    public LockOptions requestId(String id) {
        return with(made -> made.requestId = id);
    }

    /**
     * Keeps the resource for the retry of the same event when the work fails.
     *
     * @param hold up to 1 h
     * @return options with it
     */
    public LockOptions retryHold(Duration hold) {
        return with(made -> made.retryHold = hold);
    }

    private LockOptions with(Consumer<LockOptions> change) {
        try {
            LockOptions made = (LockOptions) clone();
            change.accept(made);
            return made;
        } catch (CloneNotSupportedException impossible) {
            throw new AssertionError(impossible);
        }
    }
}
