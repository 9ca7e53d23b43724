package dev.lockservice.client;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** The end of a client. */
final class Closing {
    /** Sessions take at most a second for what is on its way. */
    private static final long SESSIONS_S = 2;

    private Closing() {}

    /** Closes sessions, then connections, then the loop; a thread that is interrupted does not wait. */
    static void close(Loop loop, Calls... all) {
        CountDownLatch open = new CountDownLatch(all.length);
        loop.run(() -> {
            for (Calls calls : all) {
                calls.close(open::countDown);
            }
        });
        try {
            if (!open.await(SESSIONS_S, TimeUnit.SECONDS)) {
                System.getLogger("dev.lockservice.client").log(System.Logger.Level.WARNING, "a session does not end");
            }
            for (Calls calls : all) {
                calls.disconnect();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        loop.close();
    }
}
