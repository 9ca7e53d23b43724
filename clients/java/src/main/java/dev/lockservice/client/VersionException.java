package dev.lockservice.client;

/** The event's version is not the next one. */
public abstract sealed class VersionException extends RefusedException permits StaleException, EarlyException {
    private final transient long completedVersion;

    VersionException(String resource, String word, long completedVersion) {
        super(resource, word + ": " + resource + " has been completed up to version " + completedVersion);
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
