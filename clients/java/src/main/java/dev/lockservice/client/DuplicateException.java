package dev.lockservice.client;

/** The event was completed before. Acknowledge it and go on. */
public final class DuplicateException extends RefusedException {
    private final transient byte[] result;

    DuplicateException(String name, byte[] result) {
        super(name, name + " was completed before");
        this.result = result;
    }

    /**
     * What was left for later duplicates when the claim was settled.
     *
     * @return up to 4096 bytes; empty after a lease
     */
    public byte[] result() {
        return result.clone();
    }
}
