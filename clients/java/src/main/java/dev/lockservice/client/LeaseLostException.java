package dev.lockservice.client;

/** The lease or claim ended before the work did. Others may have gone on already. */
public final class LeaseLostException extends LockserviceException {
    LeaseLostException(String what, String why) {
        super(what + ": " + why);
    }
}
