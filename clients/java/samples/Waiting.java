import dev.lockservice.client.Client;
import dev.lockservice.client.LockOptions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Ten workers want the same stock; each waits for its turn, and no decrement is lost. */
public final class Waiting {
    private static final int WORKERS = 10;
    private static volatile int stock = WORKERS;

    public static void main(String[] arguments) throws Exception {
        LockOptions options = LockOptions.defaults().wait(Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(WORKERS);
        try (Client client = Client.create()) {
            Callable<Void> sell = () -> {
                client.withLock("stock:sku-7-java", options, lease -> {
                    int left = stock;
                    Thread.sleep(10);
                    lease.check();
                    stock = left - 1;
                });
                return null;
            };
            List<Callable<Void>> workers = new ArrayList<>();
            for (int number = 0; number < WORKERS; number++) {
                workers.add(sell);
            }
            for (Future<Void> worker : threads.invokeAll(workers)) {
                worker.get();
            }
        } finally {
            threads.shutdown();
        }
        System.out.println("left " + stock);
    }
}
