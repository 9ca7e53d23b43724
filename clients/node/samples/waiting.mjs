// Ten workers want the same stock; each waits for its turn, and no decrement is lost.
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "lockservice-client";

const stock = new Map([["sku-7", 10]]);
const client = new Client();

/** Takes one piece: read, think, write. */
async function sell() {
  await client.withLock("stock:sku-7-node", { wait: 30_000 }, async (lease) => {
    const left = stock.get("sku-7");
    await sleep(10);
    lease.check();
    stock.set("sku-7", left - 1);
  });
}

await Promise.all(Array.from({ length: 10 }, sell));
console.log("left", stock.get("sku-7"));
await client.close();
