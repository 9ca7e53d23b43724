package dev.lockservice.client.tests;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.LockOptions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assertions;

/** What the tests of all subjects need; what a test has opened is closed after it. */
abstract class Tries {
    static final LockOptions LOCK = LockOptions.defaults();
    private static final AtomicInteger COUNT = new AtomicInteger();
    private static final long PID = ProcessHandle.current().pid();

    private final List<AutoCloseable> opened = new ArrayList<>();

    @AfterEach
    void closeAll() throws Exception {
        for (int last = opened.size() - 1; last >= 0; last--) {
            opened.get(last).close();
        }
    }

    <T extends AutoCloseable> T opened(T made) {
        opened.add(made);
        return made;
    }

    static ClientOptions at(String address) {
        return ClientOptions.defaults().address(address);
    }

    Client connect(ClientOptions options) {
        return opened(Client.create(options));
    }

    Client connect(String address) {
        return connect(at(address));
    }

    Admin admin(String address) {
        return opened(new Admin(address));
    }

    /** Returns a name that no other test uses. */
    static String fresh() {
        return "order:java-" + PID + "-" + COUNT.incrementAndGet();
    }

    static Duration ms(long ms) {
        return Duration.ofMillis(ms);
    }

    static Duration s(long s) {
        return Duration.ofSeconds(s);
    }

    static long since(long nanos) {
        return (System.nanoTime() - nanos) / 1_000_000;
    }

    /** Returns once a condition is true; the test fails when it is not in time. */
    static void until(String what, Duration within, BooleanSupplier condition) throws InterruptedException {
        long began = System.nanoTime();
        while (!condition.getAsBoolean()) {
            if (since(began) > within.toMillis()) {
                Assertions.fail("not within " + within + ": " + what);
            }
            Thread.sleep(10);
        }
    }

    /** Runs something in a thread of its own. */
    static <T> CompletableFuture<T> apart(Callable<T> task) {
        CompletableFuture<T> done = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                done.complete(task.call());
            } catch (Throwable failed) {
                done.completeExceptionally(failed);
            }
        });
        thread.setDaemon(true);
        thread.start();
        return done;
    }

    /** Runs a program of the tests in a process of its own. */
    static Process run(List<String> words, String... environment) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                System.getProperty("java.home") + "/bin/java", "-cp", System.getProperty("java.class.path")));
        command.addAll(words);
        ProcessBuilder made = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        made.environment().remove("LOCKSERVICE_ADDR");
        made.environment().remove("LOCKSERVICE_TOKEN");
        for (int index = 0; index < environment.length; index += 2) {
            made.environment().put(environment[index], environment[index + 1]);
        }
        return made.start();
    }
}
