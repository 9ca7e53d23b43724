package dev.lockservice.client;

/** A newer version of the entity has been completed. Acknowledge the event if it carries a whole entity. */
public final class StaleException extends VersionException {
    StaleException(String resource, long completedVersion) {
        super(resource, "stale", completedVersion);
    }
}
