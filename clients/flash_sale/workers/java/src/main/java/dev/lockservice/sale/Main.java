package dev.lockservice.sale;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import java.util.HashMap;
import java.util.Map;
import redis.clients.jedis.ConnectionPoolConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.RedisClient;

/** A worker of the flash sale in Java; ../README.md of the workers says what workers do. */
final class Main {
    private static final int CONNECTIONS = 32;

    private Main() {}

    public static void main(String[] words) {
        // What is in work comes to its end elsewhere.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));
        Map<String, String> given = new HashMap<>();
        for (int index = 0; index + 1 < words.length; index += 2) {
            given.put(words[index], words[index + 1]);
        }
        try {
            work(given);
        } catch (RuntimeException broken) {
            broken.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void work(Map<String, String> given) {
        ConnectionPoolConfig pool = new ConnectionPoolConfig();
        pool.setMaxTotal(CONNECTIONS);
        pool.setMaxIdle(CONNECTIONS);
        try (RedisClient redis = RedisClient.builder()
                .hostAndPort(HostAndPort.from(given.get("--redis")))
                .poolConfig(pool)
                .build()) {
            Guard guard = new Guard.Nothing();
            if (!given.getOrDefault("--guarding", "lockservice").equals("nothing")) {
                ClientOptions options =
                        ClientOptions.defaults().address(given.get("--server")).owner(given.get("--name"));
                guard = new Guard.Leases(Client.create(options));
            }
            int slots = Integer.parseInt(given.getOrDefault("--slots", "100"));
            new Consumer(redis, given.get("--name"), slots, new Worker(new Books(redis), guard)).run();
        }
    }
}
