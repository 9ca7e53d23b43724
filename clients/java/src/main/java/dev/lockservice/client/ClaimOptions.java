package dev.lockservice.client;

import java.time.Duration;
import java.util.function.Consumer;

/** How an event key is claimed. Each method returns other options, and leaves these as they are. */
public final class ClaimOptions implements Cloneable {
    private static final ClaimOptions DEFAULTS = new ClaimOptions();

    Duration ttl = Duration.ofSeconds(30);
    Duration wait = Duration.ZERO;
    Duration retention = Duration.ZERO;
    String requestId;
    byte[] fingerprint = {};

    private ClaimOptions() {}

    /**
     * A claim of 30 s, and no wait.
     *
     * @return options to go on from
     */
    public static ClaimOptions defaults() {
        return DEFAULTS;
    }

    /**
     * How long the claim lasts without renewal.
     *
     * @param ttl 100 ms to 1 h
     * @return options with it
     */
    public ClaimOptions ttl(Duration ttl) {
        return with(made -> made.ttl = ttl);
    }

    /**
     * How long to wait for another's claim to end.
     *
     * @param wait up to 1 h
     * @return options with it
     */
    public ClaimOptions wait(Duration wait) {
        return with(made -> made.wait = wait);
    }

    /**
     * How long the key is remembered; a day unless told otherwise.
     *
     * @param retention 1 s to 30 d
     * @return options with it
     */
    public ClaimOptions retention(Duration retention) {
        return with(made -> made.retention = retention);
    }

    /**
     * Gives the same answer to the same id again; a random id unless told otherwise.
     *
     * @param id up to 128 bytes; empty: nothing is remembered of the request
     * @return options with it
     */
    public ClaimOptions requestId(String id) {
        return with(made -> made.requestId = id);
    }

    /**
     * Refuses another payload under the same key.
     *
     * @param hash of the payload, up to 64 bytes
     * @return options with it
     */
    public ClaimOptions fingerprint(byte[] hash) {
        return with(made -> made.fingerprint = hash.clone());
    }

    private ClaimOptions with(Consumer<ClaimOptions> change) {
        try {
            ClaimOptions made = (ClaimOptions) clone();
            change.accept(made);
            return made;
        } catch (CloneNotSupportedException impossible) {
            throw new AssertionError(impossible);
        }
    }
}
