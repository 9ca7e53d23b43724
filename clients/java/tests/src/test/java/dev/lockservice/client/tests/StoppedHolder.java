package dev.lockservice.client.tests;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.Lease;
import dev.lockservice.client.LockOptions;
import java.time.Duration;

/** The process that a test stops. */
final class StoppedHolder {
    private StoppedHolder() {}

    public static void main(String[] arguments) throws InterruptedException {
        Client client = Client.create(ClientOptions.defaults().address(arguments[0]));
        Lease lease = client.acquire(arguments[1], LockOptions.defaults().ttl(Duration.ofMillis(1200)));
        lease.onLost(lost -> System.out.println("lost"));
        System.out.println("holds");
        Thread.sleep(60_000);
    }
}
