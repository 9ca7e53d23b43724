package dev.lockservice.client;

/** Interrupts the thread that works under a lease when that is lost, and never after the work has ended. */
final class Interruption {
    private final Thread worker = Thread.currentThread();
    private boolean ended;
    private boolean interrupted;

    Interruption(Renewal renewal) {
        renewal.onLost(lost -> interrupt());
    }

    private synchronized void interrupt() {
        if (!ended) {
            interrupted = true;
            worker.interrupt();
        }
    }

    /** Ends it; an interruption that came too late for the work is taken back. */
    synchronized void end() {
        ended = true;
        if (interrupted && Thread.currentThread() == worker) {
            Thread.interrupted();
        }
    }
}
