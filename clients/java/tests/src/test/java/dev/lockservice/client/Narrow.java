package dev.lockservice.client;

/** Reaches what no user can choose. */
public final class Narrow {
    private Narrow() {}

    /** Returns options with another room on a stream, of which so much is kept for what keeps or ends a lease. */
    public static ClientOptions room(ClientOptions options, int openMax, int keepingMax) {
        ClientOptions made = options.owner(options.owner);
        made.openMax = openMax;
        made.keepingMax = keepingMax;
        return made;
    }
}
