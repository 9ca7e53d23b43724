import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, ServiceError, Unavailable } from "lockservice-client";
import { queueLength } from "./admin.mjs";
import { fresh, proxy, service, until } from "./stand.mjs";

const CLIENTS = process.env.LOCKSERVICE_CLIENTS ?? new URL("../..", import.meta.url).pathname;
const ROOT = new URL("..", import.meta.url).pathname;

let running;
before(async () => {
  running = await service();
});

test("S32 a closed client leaves nothing behind", async () => {
  const program = `
    import { Client } from "lockservice-client";
    for (let round = 0; round < 20; round += 1) {
      const client = new Client({ address: process.argv[1] });
      const lease = await client.lock(process.argv[2] + round, { ttl: 300 });
      await lease.done();
      const waiting = client.once(process.argv[2] + "key", {}, () => {}).catch(() => {});
      await client.close();
      await waiting;
    }
    const active = () => process.getActiveResourcesInfo().filter((name) => name !== "PipeWrap");
    const timers = active().filter((name) => name === "Timeout");
    // The last connection takes some turns of the event loop to close.
    const end = performance.now() + 5_000;
    while (active().length > 0 && performance.now() < end) await new Promise(setImmediate);
    console.log(JSON.stringify([...timers, ...active()]));
  `;
  const words = ["--input-type=module", "-e", program, running.address, fresh()];
  // It ends by itself, too: nothing keeps the process alive.
  const said = execFileSync(process.execPath, words, { cwd: ROOT, timeout: 20_000, encoding: "utf8" });
  assert.deepEqual(JSON.parse(said), []);
});

test("S32 a call on a closed client says so, as those that were open do", async () => {
  const client = new Client({ address: running.address });
  const resource = fresh();
  await client.acquire(resource, { ttl: 20_000 });
  const waiting = client.acquire(resource, { wait: 20_000 });
  await until(async () => (await queueLength(running.address, resource)) === 1, "it waits");
  const told = assert.rejects(waiting, /this client is closed/);
  await client.close();
  await told;
  await assert.rejects(client.acquire(fresh()), ServiceError);
  assert.equal(await queueLength(running.address, resource), 0);
});

test("S33 a hundred calls at once travel on one stream in few messages", async () => {
  const between = await proxy(running.address);
  const client = new Client({ address: between.address });
  await Promise.all(Array.from({ length: 100 }, () => client.acquire(fresh())));
  const { streams, frames } = await between.seen();
  assert.equal(streams, 1);
  assert.ok(frames <= 5, `${frames} frames`);
  await client.close();
});

test("S34 a service without sessions is called without", async () => {
  const between = await proxy(running.address);
  await between.fault("no_sessions", "Session");
  const client = new Client({ address: between.address });
  await client.withLock(fresh(), {}, () => {});
  assert.ok((await between.seen()).calls.every((call) => call.unary));
  await client.close();
});

test("S35 an old stream is followed by another, and nothing is asked twice", async () => {
  const between = await proxy(running.address);
  const client = new Client({ address: between.address, streamAge: 300, retryFor: 0 });
  const resource = fresh();
  const { grant } = await client.acquire(resource);
  const waiting = client.acquire(resource, { wait: 20_000 });
  const end = performance.now() + 1_500;
  let calls = 2;
  while (performance.now() < end) {
    await Promise.all(Array.from({ length: 10 }, () => client.acquire(fresh())));
    calls += 10;
    await sleep(5);
  }
  assert.equal((await between.calls("Acquire")).length, calls);
  const seen = await between.seen();
  assert.ok(seen.streams >= 4 && seen.streams <= 7, `${seen.streams} streams`);
  // The first one stays for the waiting call.
  assert.equal(seen.open_streams, 2);
  await client.release(resource, grant.leaseId);
  assert.equal((await waiting).outcome, "granted");
  await until(async () => (await between.seen()).open_streams === 1, "the first has ended");
  await client.close();
});

test("S35 a caller on an old stream can be cancelled", async () => {
  const client = new Client({ address: running.address, streamAge: 100 });
  const resource = fresh();
  await client.acquire(resource, { ttl: 20_000 });
  const leaving = new AbortController();
  const waiting = client.acquire(resource, { wait: 20_000, signal: leaving.signal }).catch(() => {});
  await until(async () => (await queueLength(running.address, resource)) === 1, "it waits");
  await sleep(150);
  await client.acquire(fresh());
  leaving.abort();
  await waiting;
  await until(async () => (await queueLength(running.address, resource)) === 0, "it has left");
  await client.close();
});

test("S36 address and token come from the environment", async () => {
  delete process.env.LOCKSERVICE_ADDR;
  delete process.env.LOCKSERVICE_TOKEN;
  const plain = new Client();
  assert.equal(plain.address, "127.0.0.1:50051");
  await plain.close();
  process.env.LOCKSERVICE_ADDR = running.address;
  const client = new Client();
  assert.equal((await client.acquire(fresh())).outcome, "granted");
  await client.close();
  process.env.LOCKSERVICE_ADDR = "locks.example:50051";
  process.env.LOCKSERVICE_TOKEN = "secret";
  assert.throws(() => new Client(), /in the clear/);
  delete process.env.LOCKSERVICE_ADDR;
  delete process.env.LOCKSERVICE_TOKEN;
});

test("S37 the service config is the shared one", () => {
  const shared = JSON.parse(readFileSync(`${CLIENTS}/service_config.json`, "utf8"));
  const bundle = readFileSync(createRequire(import.meta.url).resolve("lockservice-client"), "utf8");
  assert.match(bundle, /"grpc.service_config": SERVICE_CONFIG/);
  const [, name] = /SERVICE_CONFIG = JSON.stringify\((\w+)\)/.exec(bundle);
  const [, text] = new RegExp(`var ${name} = (\\{[\\s\\S]*?\\n\\});`).exec(bundle);
  assert.deepEqual(new Function(`return ${text}`)(), shared);
});

test("S37 calls are repeated by the client alone", async () => {
  const between = await proxy(running.address);
  await between.fault("unavailable", "Acquire", 1_000);
  const calls = async (retryFor) => {
    const before = (await between.calls("Acquire")).length;
    const client = new Client({ address: between.address, unary: true, retryFor });
    await assert.rejects(client.acquire(fresh()), Unavailable);
    await client.close();
    return (await between.calls("Acquire")).length - before;
  };
  assert.equal(await calls(0), 1);
  // Pauses of 20, 40, 80, 160 and 320 ms, each with a jitter of a half.
  const several = await calls(500);
  assert.ok(several >= 3 && several <= 7, `${several} calls`);
});

test("both ways to load the package give the same names", async () => {
  const required = createRequire(import.meta.url)("lockservice-client");
  const imported = await import("lockservice-client");
  assert.deepEqual(Object.keys(required).sort(), Object.keys(imported).sort());
  const client = new required.Client({ address: running.address });
  assert.equal((await client.acquire(fresh())).outcome, "granted");
  await client.close();
});

const PROMISED = {
  basic: [/^another worker is told: order:basic-node is held by/, /^packed packed$/],
  waiting: [/^left 0$/],
  dedupe: [/^charged 12 EUR$/, /^duplicate of: charged 12 EUR$/],
  ordered: [
    /^create: applied$/,
    /^update: applied$/,
    /^create again: a newer one was applied$/,
    /^update: done before$/,
    /^same instant: fetched afresh and applied$/,
  ],
};
for (const [name, promised] of Object.entries(PROMISED))
  test(`S38 the sample ${name}`, () => {
    const env = { ...process.env, LOCKSERVICE_ADDR: running.address };
    const said = execFileSync(process.execPath, [`${ROOT}/samples/${name}.mjs`], {
      env,
      timeout: 30_000,
      encoding: "utf8",
    });
    const lines = said.trimEnd().split("\n");
    assert.equal(lines.length, promised.length, said);
    for (const [index, line] of lines.entries()) assert.match(line, promised[index]);
  });
