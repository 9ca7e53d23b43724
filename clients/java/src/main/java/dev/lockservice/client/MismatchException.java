package dev.lockservice.client;

/** The same event key came with another payload before. Somebody should look at it. */
public final class MismatchException extends RefusedException {
    MismatchException(String key) {
        super(key, key + " came with another payload before");
    }
}
