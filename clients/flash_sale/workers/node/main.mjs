// A worker of the flash sale in Node; ../README.md says what workers do.
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { Client } from "lockservice-client";
import { Consumer } from "./consumer.mjs";
import { Leases, nothing } from "./guards.mjs";
import { Worker } from "./work.mjs";

const text = { type: "string" };
const { values } = parseArgs({ options: { redis: text, guarding: text, server: text, name: text, slots: text } });
const [host, port] = values.redis.split(":");
const connection = {
  host,
  port: Number(port),
  maxRetriesPerRequest: 0,
  retryStrategy: null,
  enableAutoPipelining: true,
};

// What is in work comes to its end elsewhere.
process.on("SIGTERM", () => process.exit(0));
const store = new Redis(connection);
const guarded = values.guarding === "lockservice";
const guard = guarded ? new Leases(new Client({ address: values.server, owner: values.name })) : nothing;
const worker = new Worker(store, guard);
// A blocking read needs a connection of its own.
const consumer = new Consumer(new Redis({ ...connection, enableAutoPipelining: false }), store, {
  name: values.name,
  slots: Number(values.slots),
  handle: (headers, body) => worker.handle(headers, body),
});
await consumer.run();
