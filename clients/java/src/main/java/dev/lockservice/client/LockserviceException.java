package dev.lockservice.client;

/** What this client throws: a {@link RefusedException}, a {@link LeaseLostException} or a {@link ServiceException}. */
public abstract class LockserviceException extends RuntimeException {
    LockserviceException(String message) {
        super(message);
    }
}
