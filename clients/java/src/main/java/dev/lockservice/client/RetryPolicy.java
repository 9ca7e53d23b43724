package dev.lockservice.client;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;

/**
 * How calls are repeated: by the retry policy of the service config that all clients share. gRPC's own repetition is
 * turned off: it neither waits for as long as the service says, nor cuts the wait of a repeated call to what is left.
 */
record RetryPolicy(Duration first, Duration max, double multiplier) {
    static final Map<String, ?> SERVICE_CONFIG = serviceConfig();
    static final RetryPolicy RETRIES = read(SERVICE_CONFIG);

    /** Returns the pause before a repetition, of which the first is 0, with a jitter of a half. */
    long pauseNanos(int repetition) {
        // Jitter keeps the clients of a service that comes back from arriving all at once.
        double jitter = 0.5 + ThreadLocalRandom.current().nextDouble();
        return (long) (jitter * Math.min(first.toNanos() * Math.pow(multiplier, repetition), max.toNanos()));
    }

    private static RetryPolicy read(Map<String, ?> config) {
        Map<?, ?> method = (Map<?, ?>) ((List<?>) config.get("methodConfig")).get(0);
        Map<?, ?> policy = (Map<?, ?>) method.get("retryPolicy");
        return new RetryPolicy(
                seconds(policy.get("initialBackoff")),
                seconds(policy.get("maxBackoff")),
                ((Number) policy.get("backoffMultiplier")).doubleValue());
    }

    private static Duration seconds(Object text) {
        return Duration.parse("PT" + text);
    }

    private static Map<String, ?> serviceConfig() {
        try (InputStream file = RetryPolicy.class.getResourceAsStream("service_config.json");
                InputStreamReader text = new InputStreamReader(file, StandardCharsets.UTF_8)) {
            return new Gson().fromJson(text, new TypeToken<Map<String, Object>>() {}.getType());
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }
}
