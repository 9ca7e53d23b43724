package dev.lockservice.client;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The end of a client. */
final class Closing {
    /** A session takes at most a second for what is on its way. */
    private static final long SESSION_S = 2;

    private Closing() {}

    /** Closes the session, then the connections, then the loop; a thread that is interrupted does not wait. */
    static void close(Loop loop, Calls calls) {
        CountDownLatch open = new CountDownLatch(1);
        loop.run(() -> calls.close(open::countDown));
        try {
            if (!open.await(SESSION_S, TimeUnit.SECONDS)) {
                System.getLogger("dev.lockservice.client").log(System.Logger.Level.WARNING, "a session does not end");
            }
            calls.disconnect();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        loop.close();
    }
}
