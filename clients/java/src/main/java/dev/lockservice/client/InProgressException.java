package dev.lockservice.client;

import java.time.Duration;

/** Another has claimed the event key. Leave the event on its queue. */
public final class InProgressException extends RefusedException {
    private final transient Duration retryAfter;

    InProgressException(String key, Duration retryAfter) {
        super(key, key + " is being processed by another");
        this.retryAfter = retryAfter;
    }

    /**
     * How long the other's claim still lasts.
     *
     * @return the time that is left
     */
    public Duration retryAfter() {
        return retryAfter;
    }
}
