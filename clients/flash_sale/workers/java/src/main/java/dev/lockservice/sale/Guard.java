package dev.lockservice.sale;

import dev.lockservice.client.Client;
import dev.lockservice.client.LockOptions;
import java.time.Duration;

/** Stands between the events of one order. */
interface Guard {
    /** What is done under it. */
    interface Task<T> {
        T run() throws InterruptedException;
    }

    <T> T order(Event event, Task<T> work) throws InterruptedException;

    <T> T stock(Event event, String variant, Task<T> work) throws InterruptedException;

    /** One lease an order, one a variant; both know which events they have seen. */
    record Leases(Client client) implements Guard {
        private static final LockOptions ORDER =
                LockOptions.defaults().ttl(Duration.ofSeconds(4)).wait(Duration.ofSeconds(10));
        private static final LockOptions STOCK =
                LockOptions.defaults().ttl(Duration.ofSeconds(3)).wait(Duration.ofSeconds(10));

        @Override
        public <T> T order(Event event, Task<T> work) throws InterruptedException {
            LockOptions options = ORDER.eventId(event.key());
            if (!event.delta()) {
                options = options.version(event.version());
            }
            if (!event.isCreated()) {
                // Nothing before the order's creation.
                options = options.afterVersion(1);
            }
            return client.callWithLock(event.shop() + ":" + event.gid(), options, lease -> work.run());
        }

        @Override
        public <T> T stock(Event event, String variant, Task<T> work) throws InterruptedException {
            return client.callWithLock(event.shop() + ":" + variant, STOCK, lease -> work.run());
        }
    }

    /** Lets everybody in at once, as before the incident. */
    record Nothing() implements Guard {
        @Override
        public <T> T order(Event event, Task<T> work) throws InterruptedException {
            return work.run();
        }

        @Override
        public <T> T stock(Event event, String variant, Task<T> work) throws InterruptedException {
            return work.run();
        }
    }
}
