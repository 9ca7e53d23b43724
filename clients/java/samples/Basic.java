import dev.lockservice.client.Client;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LockOptions;
import java.time.Duration;

/** Takes a lease, works, and lets the store refuse a holder that was too slow. */
public final class Basic {
    /** A row of a store: the write and the look at the token are one step there, too. */
    private static final class Order {
        private String state = "paid";
        private long fence;

        /** Writes unless a later holder has written: no lease can stop a worker that paused past its end, this does. */
        synchronized boolean write(String next, long token) {
            if (token < fence) {
                return false;
            }
            state = next;
            fence = token;
            return true;
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        Order order = new Order();
        LockOptions options = LockOptions.defaults().ttl(Duration.ofSeconds(10));
        try (Client client = Client.create()) {
            try (Lease lease = client.acquire("order:basic-java", options)) {
                try {
                    client.acquire("order:basic-java", options).close();
                } catch (HeldException held) {
                    System.out.println("another worker is told: " + held.getMessage());
                }
                check(order.write("packed", lease.fencingToken()));
                check(!order.write("lost update", lease.fencingToken() - 1));
                lease.done();
            }
        }
        System.out.println("packed " + order.state);
    }

    private static void check(boolean expected) {
        if (!expected) {
            throw new AssertionError("the store did not look at the token");
        }
    }
}
