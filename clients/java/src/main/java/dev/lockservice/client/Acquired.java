package dev.lockservice.client;

import java.util.Optional;

/** What came of {@link Client#tryAcquire}, as a value. */
public sealed interface Acquired {
    /**
     * The lease is held.
     *
     * @param lease to be ended by {@link Lease#done}, {@link Lease#retry} or {@link Lease#close}
     */
    record Granted(Lease lease) implements Acquired {}

    /**
     * Others hold the resource, or are queued for it.
     *
     * @param holder who holds it; empty when nobody does
     */
    record Held(Optional<Holder> holder) implements Acquired {}

    /** The event was completed before. */
    record Duplicate() implements Acquired {}

    /**
     * A newer version has been completed.
     *
     * @param completedVersion the highest version that was released as done
     */
    record Stale(long completedVersion) implements Acquired {}

    /**
     * The version that the event needs has not been completed.
     *
     * @param completedVersion the highest version that was released as done; -1: none was
     */
    record Early(long completedVersion) implements Acquired {}
}
