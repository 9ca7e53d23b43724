package dev.lockservice.client;

/** A newer version of the entity has been completed. Acknowledge the event if it carries a whole entity. */
public final class StaleException extends RefusedException {
    private final transient long completedVersion;

    StaleException(String resource, long completedVersion) {
        super(resource, "stale: " + resource + " has been completed up to version " + completedVersion);
        this.completedVersion = completedVersion;
    }

    /**
     * The highest version that was released as done.
     *
     * @return that version; -1: none was
     */
    public long completedVersion() {
        return completedVersion;
    }
}
