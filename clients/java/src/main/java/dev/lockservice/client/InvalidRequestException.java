package dev.lockservice.client;

/** A field is missing, too long or out of range; the message names it. */
public final class InvalidRequestException extends ServiceException {
    InvalidRequestException(Fault fault) {
        super(fault);
    }
}
