package dev.lockservice.client;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** The one thread of a client, in which all its state lives without locks. What comes at one moment is one turn. */
final class Loop {
    private static final System.Logger LOGGER = System.getLogger("dev.lockservice.client");

    /** So many looks in vain mean that nobody is about to ask; each lets the threads that can run come first. */
    private static final int LOOKS = 16;

    private final ScheduledThreadPoolExecutor executor;
    private final ConcurrentLinkedQueue<Runnable> inbox = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean roused = new AtomicBoolean();
    private final List<Runnable> atEnd = new ArrayList<>();
    private boolean gathering;
    private volatile boolean closed;

    Loop() {
        executor = new ScheduledThreadPoolExecutor(1, Loop::thread, new ThreadPoolExecutor.DiscardPolicy());
        // Most timers never come to their end.
        executor.setRemoveOnCancelPolicy(true);
        executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    }

    private static Thread thread(Runnable task) {
        Thread made = new Thread(task, "lockservice-client");
        made.setDaemon(true);
        return made;
    }

    /** Runs a task in the next turn; from any thread. */
    void run(Runnable task) {
        inbox.add(task);
        if (closed) {
            last();
            return;
        }
        // One wake-up does for all who come before the turn begins.
        if (roused.compareAndSet(false, true)) {
            executor.execute(this::turn);
        }
    }

    /** Runs a task after a time; from any thread. Cancel it, or it is kept until then. */
    Future<?> after(long nanos, Runnable task) {
        return executor.schedule(() -> run(task), Math.max(0, nanos), TimeUnit.NANOSECONDS);
    }

    /**
     * Lets other threads come first in this turn, since several are at work: what they are about to ask shares a
     * message, and one costs far more than what is in it. A call on its own is never held up so. In the loop.
     */
    void gather() {
        gathering = true;
    }

    /** Runs a task once at the end of this turn; in the loop. */
    void atEnd(Runnable task) {
        atEnd.add(task);
    }

    /** Ends the thread, which has a second for what it still has to do. What comes later runs with its caller. */
    void close() {
        executor.shutdown();
        try {
            executor.awaitTermination(1, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        closed = true;
        last();
    }

    private synchronized void last() {
        turn();
    }

    private void turn() {
        roused.set(false);
        drain();
        for (int looks = 0; gathering && looks < LOOKS; looks++) {
            Thread.yield();
            if (drain()) {
                looks = 0;
            }
        }
        gathering = false;
        List<Runnable> last = List.copyOf(atEnd);
        atEnd.clear();
        last.forEach(Loop::guarded);
    }

    private boolean drain() {
        boolean found = false;
        for (Runnable task = inbox.poll(); task != null; task = inbox.poll()) {
            guarded(task);
            found = true;
        }
        return found;
    }

    private static void guarded(Runnable task) {
        try {
            task.run();
        } catch (RuntimeException | Error broken) {
            // The thread lives on: leases depend on it.
            LOGGER.log(System.Logger.Level.ERROR, "a defect of the client", broken);
        }
    }
}
