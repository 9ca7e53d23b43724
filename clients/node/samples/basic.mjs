// Take a lease on an order, work, and let the store refuse a holder that was too slow.
import { Client, Held } from "lockservice-client";

const store = new Map([["basic-node", { state: "paid", fence: 0 }]]);

/** Writes unless a later holder has written: no lease can stop a worker that paused past its end, this does. */
function write(order, state, fence) {
  if (fence < store.get(order).fence) return false;
  store.set(order, { state, fence });
  return true;
}

const client = new Client();
let last = 0;
await client.withLock("order:basic-node", { ttl: 10_000 }, async (lease) => {
  try {
    await client.lock("order:basic-node");
  } catch (error) {
    if (!(error instanceof Held)) throw error;
    console.log(`another worker is told: ${error.message}`);
  }
  write("basic-node", "packed", lease.fencingToken);
  last = lease.fencingToken;
});
if (write("basic-node", "lost update", last - 1)) throw new Error("the store took an old token");
console.log("packed", store.get("basic-node").state);
await client.close();
