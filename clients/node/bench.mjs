// Prints one line of the figures that `clients/scenarios.md` names.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const address = process.env.LOCKSERVICE_ADDR ?? "127.0.0.1:50051";
const [CALLERS, WARM_MS, RUN_MS] = [128, 1_000, 3_000];
const [TURN, TURNS] = [200, 5];
const [LEASES, TTL_MS, KEPT_MS] = [1_000, 10_000, 20_000];

const consumer = createRequire(new URL("./build/consumer/package.json", import.meta.url));
const { Client } = consumer("lockservice-client");
const grpc = await import(pathToFileURL(consumer.resolve("@grpc/grpc-js")));

/** Returns acquires and releases a second of all callers, each with a resource of its own. */
async function pairs(client) {
  const counting = performance.now() + WARM_MS;
  const ends = counting + RUN_MS;
  let count = 0;
  const call = async (number) => {
    for (let now = performance.now(); now < ends; now = performance.now()) {
      const { grant } = await client.acquire(`bench-node:${number}`, { ttl: 30_000 });
      await client.release(grant.resource, grant.leaseId);
      if (now >= counting) count += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, number) => call(number)));
  return (count * 1_000) / RUN_MS;
}

/** Makes an Acquire with a ttl of 1 s as the stub writes it. */
function request(resource) {
  const parts = [
    [0x0a, resource],
    [0x12, "bench"],
  ].map(([key, text]) => Buffer.from([key, text.length, ...Buffer.from(text)]));
  return Buffer.concat([...parts, Buffer.from([0x1a, 2, 0x08, 1])]);
}

/** Returns the medians in ms of an acquire of the client, and of the stub's, in turns. */
async function latencies(client) {
  const stub = new grpc.Client(address, grpc.credentials.createInsecure());
  const same = (bytes) => bytes;
  const path = "/lockservice.v1.LockService/Acquire";
  const raw = (name) =>
    new Promise((resolve, reject) =>
      stub.makeUnaryRequest(path, same, same, request(name), (error) => (error ? reject(error) : resolve())),
    );
  const [own, stubs] = [[], []];
  const timed = async (into, work) => {
    const began = performance.now();
    await work();
    into.push(performance.now() - began);
  };
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (let n = 0; n < TURN; n += 1)
      await timed(own, () => client.acquire(`bench-node-own:${process.pid}:${turn}:${n}`, { ttl: 1_000 }));
    for (let n = 0; n < TURN; n += 1) await timed(stubs, () => raw(`bench-node-stub:${process.pid}:${turn}:${n}`));
  }
  stub.close();
  const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];
  return { p50_ms: median(own), stub_p50_ms: median(stubs) };
}

/** Returns the per cent of a core that it takes to keep leases alive. */
async function renewing(client) {
  const leases = await Promise.all(
    Array.from({ length: LEASES }, (_, n) => client.lock(`bench-node-kept:${process.pid}:${n}`, { ttl: TTL_MS })),
  );
  const [began, before] = [performance.now(), process.cpuUsage()];
  await new Promise((resolve) => setTimeout(resolve, KEPT_MS));
  const { user, system } = process.cpuUsage(before);
  const percent = (user + system) / 10 / (performance.now() - began);
  for (const lease of leases) lease.check();
  await Promise.all(leases.map((lease) => lease.done()));
  return percent;
}

const client = new Client({ address });
const pairs_per_s = await pairs(client);
const latency = await latencies(client);
const renewing_cpu_percent = await renewing(client);
console.log(JSON.stringify({ client: "node", pairs_per_s, ...latency, renewing_cpu_percent }));
await client.close();
