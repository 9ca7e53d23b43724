// How calls are repeated: by the retry policy of the service config that all clients share. gRPC's own repetition is
// turned off: it neither waits for as long as the service says, nor cuts the wait of a repeated call to what is left.
import serviceConfig from "./service_config.json" with { type: "json" };

const [{ retryPolicy }] = serviceConfig.methodConfig as [(typeof serviceConfig.methodConfig)[0]];
const FIRST_MS = Number.parseFloat(retryPolicy.initialBackoff) * 1_000;
const MAX_MS = Number.parseFloat(retryPolicy.maxBackoff) * 1_000;

export const SERVICE_CONFIG = JSON.stringify(serviceConfig);

/** Yields the milliseconds before each repetition, with a jitter of a half. */
export function* pauses(): Generator<number, never> {
  for (let pause = FIRST_MS; ; pause = Math.min(pause * retryPolicy.backoffMultiplier, MAX_MS)) {
    // Jitter keeps the clients of a service that comes back from arriving all at once.
    yield pause * (0.5 + Math.random());
  }
}
