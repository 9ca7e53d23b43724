package dev.lockservice.client;

/** The version that this event needs has not been completed yet. Retry later. */
public final class EarlyException extends VersionException {
    EarlyException(String resource, long completedVersion) {
        super(resource, "early", completedVersion);
    }
}
