// An update that arrives before its create waits for it; an older update after a newer one is dropped. The events stand
// on a durable queue already; `eventId` deduplicates them where the work is done.
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Duplicate, Early, Stale } from "lockservice-client";

const client = new Client();

/** Applies an event in its order. */
async function process({ id, version, needs }) {
  const options = { wait: 10_000, version, afterVersion: needs, eventId: id };
  try {
    const how = await client.withLock("order:ordered-node", options, (lease) =>
      lease.tie ? "fetched afresh and applied" : "applied",
    );
    return `${id}: ${how}`;
  } catch (error) {
    if (error instanceof Duplicate) return `${id}: done before`;
    if (error instanceof Stale) return `${id}: a newer one was applied`;
    if (error instanceof Early) return `${id}: back to the queue, what it needs has not come`;
    throw error;
  }
}

const update = process({ id: "update", version: 2, needs: 1 });
await sleep(100);
console.log(await process({ id: "create", version: 1 }));
console.log(await update);
console.log(await process({ id: "create again", version: 1 }));
console.log(await process({ id: "update", version: 2 }));
console.log(await process({ id: "same instant", version: 2 }));
await client.close();
