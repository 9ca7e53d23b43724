package dev.lockservice.client;

/** An answer that is no error: the event need not, must not or cannot be processed now. */
public abstract class RefusedException extends LockserviceException {
    private final transient String name;

    RefusedException(String name, String message) {
        super(message);
        this.name = name;
    }

    /**
     * The resource, or the event key.
     *
     * @return its name
     */
    public String name() {
        return name;
    }
}
