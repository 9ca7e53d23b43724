package dev.lockservice.client;

import java.time.Duration;

/** A claim on an event key, renewed while the work of {@link Client#once} runs. */
public final class Claim extends Holding {
    private final Service service;
    private final String key;
    private final String id;
    private volatile byte[] result = {};

    Claim(Service service, String key, String id, Renewal renewal) {
        super(renewal, "the claim on " + key, service.executor());
        this.service = service;
        this.key = key;
        this.id = id;
    }

    /**
     * What is claimed.
     *
     * @return the event's key
     */
    public String key() {
        return key;
    }

    /**
     * Leaves a result for later duplicates.
     *
     * @param result up to 4096 bytes
     */
    public void result(byte[] result) {
        this.result = result.clone();
    }

    @Override
    public String toString() {
        return "Claim[" + key + "]";
    }

    @Override
    Reply<Boolean> tell(boolean done, Duration hold, Duration within) {
        return service.settle(key, id, done, done ? result : new byte[0], within);
    }
}
