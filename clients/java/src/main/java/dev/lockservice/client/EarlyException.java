package dev.lockservice.client;

/** The version that this event needs has not been completed yet. Retry later. */
public final class EarlyException extends RefusedException {
    private final transient long completedVersion;

    EarlyException(String resource, long completedVersion) {
        super(resource, "early: " + resource + " has been completed up to version " + completedVersion);
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
