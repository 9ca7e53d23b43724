package dev.lockservice.client;

/** The service, or the shard of this key, cannot be reached. Repeat the call with the same ids. */
public final class UnavailableException extends ServiceException {
    UnavailableException(Fault fault) {
        super(fault);
    }
}
