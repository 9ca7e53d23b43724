package dev.lockservice.client;

/** The credentials are missing, wrong, or not good for this. */
public final class NotAllowedException extends ServiceException {
    NotAllowedException(Fault fault) {
        super(fault);
    }
}
