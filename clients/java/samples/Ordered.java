import dev.lockservice.client.Client;
import dev.lockservice.client.DuplicateException;
import dev.lockservice.client.EarlyException;
import dev.lockservice.client.LockOptions;
import dev.lockservice.client.StaleException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/** Events of one order that come in the wrong order, twice, or at the same instant. */
public final class Ordered {
    private static final LockOptions WAITING = LockOptions.defaults().wait(Duration.ofSeconds(10));

    private static String process(Client client, String id, LockOptions options) {
        try {
            return client.callWithLock(
                    "order:ordered-java",
                    options.eventId(id),
                    lease -> id + (lease.tie() ? ": fetched afresh and applied" : ": applied"));
        } catch (DuplicateException duplicate) {
            return id + ": done before";
        } catch (StaleException stale) {
            return id + ": a newer one was applied";
        } catch (EarlyException early) {
            return id + ": back to the queue, what it needs has not come";
        } catch (InterruptedException interrupted) {
            return id + ": interrupted";
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Client client = Client.create()) {
            // The update has come first: it waits until version 1 is completed.
            CompletableFuture<String> update = CompletableFuture.supplyAsync(
                    () -> process(client, "update", WAITING.version(2).afterVersion(1)));
            Thread.sleep(100);
            System.out.println(process(client, "create", WAITING.version(1)));
            System.out.println(update.get());
            System.out.println(process(client, "create again", WAITING.version(1)));
            System.out.println(process(client, "update", WAITING.version(2)));
            System.out.println(process(client, "same instant", WAITING.version(2)));
        }
    }
}
