package dev.lockservice.client;

/** How the lease before ended. After {@link #EXPIRED} or {@link #FORCED} work may be half done. */
public enum PreviousLease {
    /** None is remembered. */
    NONE,
    /** Its holder released it. */
    RELEASED,
    /** It ran out before it was released. */
    EXPIRED,
    /** An operator took it away. */
    FORCED
}
