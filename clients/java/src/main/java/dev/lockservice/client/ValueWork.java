package dev.lockservice.client;

/**
 * Work under a lease that returns a value.
 *
 * @param <T> of the value
 * @param <E> what it may throw
 */
@FunctionalInterface
public interface ValueWork<T, E extends Exception> {
    /**
     * Does the work.
     *
     * @param lease the lease
     * @return its value
     * @throws E what the work throws; it comes out as it is
     */
    T call(Lease lease) throws E;
}
