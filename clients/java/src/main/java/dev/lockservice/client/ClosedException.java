package dev.lockservice.client;

/** The client was closed. */
public final class ClosedException extends ServiceException {
    ClosedException(Fault fault) {
        super(fault);
    }
}
