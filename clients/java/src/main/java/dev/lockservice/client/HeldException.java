package dev.lockservice.client;

import java.util.Optional;

/** Others hold the resource, or are queued for it. Try later. */
public final class HeldException extends RefusedException {
    private final transient Holder holder;

    HeldException(String resource, Holder holder) {
        super(resource, holder == null ? resource + " is held" : resource + " is held by " + holder.owner());
        this.holder = holder;
    }

    /**
     * Who holds the resource.
     *
     * @return the holder; empty when nobody holds it, but others wait
     */
    public Optional<Holder> holder() {
        return Optional.ofNullable(holder);
    }
}
