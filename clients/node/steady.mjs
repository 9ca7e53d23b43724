// Calls at a steady rate until standard input ends, and prints what came of it, as `clients/scenarios.md` says.
import { createRequire } from "node:module";

const address = process.env.LOCKSERVICE_ADDR ?? "127.0.0.1:50051";
const PAIR_MS = 2_000 / Number(process.env.LOCKSERVICE_CALLS_S ?? 125);

const consumer = createRequire(new URL("./build/consumer/package.json", import.meta.url));
const { Client } = consumer("lockservice-client");

const said = { client: "node", calls: 0, failed: 0, errors: [], slowest_ms: 0 };

function called(began) {
  said.calls += 1;
  said.slowest_ms = Math.max(said.slowest_ms, performance.now() - began);
}

/** Takes a lock and gives it back. */
async function pair(client, resource) {
  try {
    let began = performance.now();
    const { grant } = await client.acquire(resource, { ttl: 30_000 });
    called(began);
    began = performance.now();
    await client.release(grant.resource, grant.leaseId);
    called(began);
  } catch (error) {
    said.failed += 1;
    said.errors.push(String(error).slice(0, 200));
  }
}

const client = new Client({ address });
const open = new Set();
let ended = false;
process.stdin.resume().on("end", () => {
  ended = true;
});
const began = performance.now();
for (let number = 0; !ended; number += 1) {
  const made = pair(client, `steady-node:${process.pid}:${number}`).finally(() => open.delete(made));
  open.add(made);
  const pause = began + (number + 1) * PAIR_MS - performance.now();
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, pause)));
}
await Promise.all(open);
await client.close();
said.errors = [...new Set(said.errors)];
console.log(JSON.stringify(said));
