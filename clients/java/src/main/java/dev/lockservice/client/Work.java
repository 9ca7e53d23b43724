package dev.lockservice.client;

/**
 * Work under a lease or a claim that returns nothing.
 *
 * @param <H> the {@link Lease}, or the {@link Claim}
 * @param <E> what it may throw
 */
@FunctionalInterface
public interface Work<H, E extends Exception> {
    /**
     * Does the work.
     *
     * @param held the lease or the claim
     * @throws E what the work throws; it comes out as it is
     */
    void run(H held) throws E;
}
