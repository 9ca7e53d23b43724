// Webhooks that arrive twice: queued first, deduplicated where the work is done. The receiver only puts the event on a
// queue that survives a crash, and answers 200 even when lockservice is down. Here an array stands for the queue.
import { createHash } from "node:crypto";
import { Client, Duplicate, InProgress } from "lockservice-client";

const queue = [];

/** Answers the sender once the event is on the queue. */
function receive(webhook, body) {
  queue.push({ webhook, body });
  return 200;
}

/** Charges once, however often the event comes; a crash before the end leaves it to be done again. */
async function process({ webhook, body }) {
  const fingerprint = createHash("sha256").update(body).digest();
  try {
    return await client.once(`shopify:${webhook}`, { claimTtl: 30_000, wait: 5_000, fingerprint }, (claim) => {
      claim.result = Buffer.from(`charged ${body}`);
      return `charged ${body}`;
    });
  } catch (error) {
    if (error instanceof Duplicate) return `duplicate of: ${Buffer.from(error.result)}`;
    if (error instanceof InProgress) return "left on the queue";
    throw error;
  }
}

const client = new Client();
receive("dedupe-node", "12 EUR");
receive("dedupe-node", "12 EUR");
while (queue.length > 0) {
  console.log(await process(queue[0]));
  queue.shift();
}
await client.close();
