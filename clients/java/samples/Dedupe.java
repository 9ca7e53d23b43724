import dev.lockservice.client.ClaimOptions;
import dev.lockservice.client.Client;
import dev.lockservice.client.DuplicateException;
import dev.lockservice.client.InProgressException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.List;

/**
 * Webhooks that arrive twice: queued first, deduplicated where the work is done. The receiver only puts the event on a
 * queue that survives a crash, and answers 200 even when lockservice is down. Here a list stands for it.
 */
public final class Dedupe {
    private record Event(String webhook, String body) {}

    /** Charges once, however often the event comes; a crash before the end leaves it to be done again. */
    private static String process(Client client, Event event) throws Exception {
        byte[] hash = MessageDigest.getInstance("SHA-256").digest(event.body().getBytes(StandardCharsets.UTF_8));
        ClaimOptions options = ClaimOptions.defaults()
                .ttl(Duration.ofSeconds(30))
                .wait(Duration.ofSeconds(5))
                .fingerprint(hash);
        String charged = "charged " + event.body();
        try {
            client.once("shopify:" + event.webhook(), options, claim ->
                    claim.result(charged.getBytes(StandardCharsets.UTF_8)));
            return charged;
        } catch (DuplicateException duplicate) {
            return "duplicate of: " + new String(duplicate.result(), StandardCharsets.UTF_8);
        } catch (InProgressException busy) {
            return "left on the queue";
        }
    }

    public static void main(String[] arguments) throws Exception {
        List<Event> queue = List.of(new Event("dedupe-java", "12 EUR"), new Event("dedupe-java", "12 EUR"));
        try (Client client = Client.create()) {
            for (Event event : queue) {
                System.out.println(process(client, event));
            }
        }
    }
}
