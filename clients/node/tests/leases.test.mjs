import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Duplicate, Early, Held, LeaseLost, Stale } from "lockservice-client";
import { forceRelease, isHeld, queueLength } from "./admin.mjs";
import { fresh, proxy, service, until } from "./stand.mjs";

let running;
let client;
before(async () => {
  running = await service();
  client = new Client({ address: running.address });
});
test.after(() => client.close());

const queue = (resource) => queueLength(running.address, resource);

test("S01 a free resource is granted, and its tokens rise", async () => {
  const resource = fresh();
  const tokens = [];
  for (let round = 0; round < 2; round += 1)
    tokens.push(await client.withLock(resource, {}, (lease) => lease.fencingToken));
  assert.ok(tokens[0] > 0 && tokens[1] > tokens[0]);
  assert.ok(Number.isSafeInteger(tokens[1]));
});

test("S02 a held resource names its holder", async () => {
  const resource = fresh();
  const other = new Client({ address: running.address, owner: "the other" });
  const lease = await other.lock(resource, { ttl: 10_000 });
  const refused = await client.lock(resource).catch((error) => error);
  assert.ok(refused instanceof Held);
  assert.match(refused.message, /the other/);
  assert.equal(refused.holder.fencingToken, lease.fencingToken);
  assert.ok(refused.holder.remaining > 8_000 && refused.holder.remaining <= 10_000);
  await lease.done();
  await other.close();
});

test("S03 three that wait are granted in their order", async () => {
  const resource = fresh();
  const order = [];
  const lease = await client.lock(resource, { ttl: 30_000 });
  const waiting = [];
  for (let number = 0; number < 3; number += 1) {
    waiting.push(client.withLock(resource, { wait: 10_000 }, () => order.push(number)));
    await until(async () => (await queue(resource)) === number + 1, "it waits");
  }
  await lease.done();
  await Promise.all(waiting);
  assert.deepEqual(order, [0, 1, 2]);
});

test("S04 a wait that is over ends in Held", async () => {
  const resource = fresh();
  await client.withLock(resource, {}, async () => {
    const began = performance.now();
    await assert.rejects(client.lock(resource, { wait: 300 }), Held);
    const took = performance.now() - began;
    assert.ok(took >= 295 && took < 1_000, `${took} ms`);
    assert.equal(await queue(resource), 0);
  });
});

test("S05 who cancels leaves the queue", async () => {
  const resource = fresh();
  await client.withLock(resource, {}, async () => {
    const leaving = new AbortController();
    const waiting = client.lock(resource, { wait: 20_000, signal: leaving.signal });
    await until(async () => (await queue(resource)) === 1, "it waits");
    leaving.abort(new Error("gone"));
    await assert.rejects(waiting, /gone/);
    await until(async () => (await queue(resource)) === 0, "it has left", 1_000);
  });
});

test("S05 a grant that crosses the cancellation is given back, unless the request was named", async () => {
  const before = await proxy(running.address);
  const far = new Client({ address: before.address });
  for (const requestId of [undefined, "mine"]) {
    const resource = fresh();
    await before.fault("hold");
    const leaving = new AbortController();
    const asked = far.acquire(resource, { ttl: 3_000, signal: leaving.signal, ...(requestId && { requestId }) });
    await until(() => isHeld(running.address, resource), "it is granted");
    leaving.abort();
    await assert.rejects(asked);
    await before.letGo();
    if (requestId) {
      assert.equal((await client.acquire(resource, { wait: 500 })).outcome, "held");
      assert.equal((await far.acquire(resource, { ttl: 3_000, requestId })).outcome, "granted");
    } else {
      await until(async () => (await client.acquire(resource)).outcome === "granted", "it is given back", 1_000);
    }
  }
  await far.close();
});

test("S06 a lease is renewed past its ttl", async () => {
  const resource = fresh();
  await client.withLock(resource, { ttl: 400 }, async (lease) => {
    for (let look = 0; look < 8; look += 1) {
      await sleep(200);
      lease.check();
      assert.equal((await client.acquire(resource)).outcome, "held");
    }
  });
});

test("S08 when the service freezes the holder hears of it before the ttl is over", async () => {
  const frozen = await service();
  const own = new Client({ address: frozen.address });
  const ttl = 1_500;
  const lease = await own.lock(fresh(), { ttl });
  const began = performance.now();
  await frozen.act(0, "freeze");
  await once(lease.signal, "abort");
  const took = performance.now() - began;
  assert.ok(lease.signal.reason instanceof LeaseLost);
  // It may have been renewed once on the way to the freeze.
  assert.ok(took < ttl && took > ttl * 0.5, `${took} ms`);
  assert.throws(() => lease.check(), LeaseLost);
  await frozen.act(0, "thaw");
  await own.close();
});

test("S09 a lease released by force is lost at the next renewal", async () => {
  const resource = fresh();
  const began = performance.now();
  const lost = client.withLock(resource, { ttl: 900 }, async (lease) => {
    await forceRelease(running.address, resource, lease.fencingToken);
    await sleep(10_000, undefined, { signal: lease.signal });
  });
  await assert.rejects(lost, LeaseLost);
  assert.ok(performance.now() - began < 900);
});

const STOPPED = `
import { Client } from "lockservice-client";
const client = new Client({ address: process.argv[1] });
let renewed = 0;
const renew = client.renew.bind(client);
client.renew = (...words) => { renewed = performance.now(); return renew(...words); };
const lease = await client.lock(process.argv[2], { ttl: 1_200 });
lease.signal.addEventListener("abort", () => {
  console.log("lost", renewed > performance.now() - 1_000 ? "renewed" : "not renewed");
  process.exit(0);
});
console.log("holds");
setInterval(() => {}, 1_000);
`;

test("S10 a stopped process hears of the loss when it wakes", async () => {
  const resource = fresh();
  const child = spawn(process.execPath, ["--input-type=module", "-e", STOPPED, running.address, resource], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const [first] = await once(lines, "line");
  assert.equal(first, "holds");
  child.kill("SIGSTOP");
  // Once another is granted, its lease has ended.
  await client.withLock(resource, { wait: 10_000 }, async () => {
    const said = once(lines, "line");
    const woken = performance.now();
    child.kill("SIGCONT");
    assert.deepEqual(await said, ["lost not renewed"]);
    assert.ok(performance.now() - woken < 100, `${performance.now() - woken} ms`);
  });
});

test("S11 the same request after a lost reply is the same lease", async () => {
  const before = await proxy(running.address);
  for (const unary of [false, true]) {
    const far = new Client({ address: before.address, unary });
    const resource = fresh();
    const already = (await before.calls("Acquire")).length;
    await before.fault("lose_reply");
    assert.equal((await far.acquire(resource, { ttl: 20_000 })).outcome, "granted");
    const [first, second, ...more] = (await before.calls("Acquire")).slice(already);
    assert.deepEqual(first, second);
    assert.equal(more.length, 0);
    await far.close();
  }
});

test("S11 without a request id the repetition would be refused", async () => {
  const before = await proxy(running.address);
  const far = new Client({ address: before.address });
  await before.fault("lose_reply");
  assert.equal((await far.acquire(fresh(), { ttl: 20_000, requestId: "" })).outcome, "held");
  await far.close();
});

test("S12 work that ends well is done, work that fails is a retry", async () => {
  const resource = fresh();
  const failed = client.withLock(resource, { eventId: "e-1" }, () => Promise.reject(new TypeError("no stock")));
  await assert.rejects(failed, TypeError);
  assert.equal(await client.withLock(resource, { eventId: "e-1" }, () => "packed"), "packed");
  await assert.rejects(client.lock(resource, { eventId: "e-1" }), Duplicate);
});

test("S12 a hold keeps the resource for the retry of its event", async () => {
  for (const how of ["option", "lease"]) {
    const resource = fresh();
    const options = { eventId: "e-1", ...(how === "option" && { retryHold: 20_000 }) };
    const work = async (lease) => {
      if (how === "lease") await lease.retry({ hold: 20_000 });
      else throw new Error("later");
    };
    await client.withLock(resource, options, work).catch(() => {});
    assert.equal((await client.acquire(resource, { eventId: "e-2" })).outcome, "held");
    assert.equal((await client.acquire(resource, { eventId: "e-1" })).outcome, "granted");
  }
});

test("S13 a lease that ends with its scope is a retry unless it was done", async () => {
  const resource = fresh();
  const lease = await client.lock(resource, { eventId: "e-1" });
  await lease[Symbol.asyncDispose]();
  const again = await client.lock(resource, { eventId: "e-1" });
  await again.done();
  await again[Symbol.asyncDispose]();
  await assert.rejects(client.lock(resource, { eventId: "e-1" }), Duplicate);
});

test("S14 refusals are values or errors", async () => {
  const resource = fresh();
  await client.withLock(resource, { version: 7, eventId: "e-7" }, async () => {
    assert.equal((await client.acquire(resource)).outcome, "held");
  });
  const stale = await client.acquire(resource, { version: 6 });
  assert.deepEqual([stale.outcome, stale.completedVersion], ["stale", 7]);
  assert.equal((await client.acquire(resource, { eventId: "e-7" })).outcome, "duplicate");
  const early = await client.acquire(resource, { version: 9, afterVersion: 8 });
  assert.deepEqual([early.outcome, early.completedVersion], ["early", 7]);
  await assert.rejects(client.lock(resource, { version: 6 }), Stale);
  await assert.rejects(client.lock(resource, { eventId: "e-7" }), Duplicate);
  await assert.rejects(client.lock(resource, { afterVersion: 8 }), Early);
});

test("S15 an early event waits, a stale one may be allowed, the same instant is a tie", async () => {
  const resource = fresh();
  const granted = [];
  const update = client.withLock(resource, { version: 2, afterVersion: 1, wait: 10_000 }, () => granted.push(2));
  await client.withLock(resource, { version: 1, wait: 5_000 }, () => granted.push(1));
  await update;
  assert.deepEqual(granted, [1, 2]);
  assert.equal(await client.withLock(resource, { version: 1, allowStale: true }, (lease) => lease.tie), false);
  assert.equal(await client.withLock(resource, { version: 2 }, (lease) => lease.tie), true);
});

test("S16 a grant that was long on its way is renewed first, or given up", async () => {
  const before = await proxy(running.address);
  const far = new Client({ address: before.address });
  const kept = fresh();
  await before.fault("hold");
  const late = far.lock(kept, { ttl: 3_000 });
  await until(async () => (await before.calls("Acquire")).length === 1, "it is asked");
  await sleep(1_200);
  await before.letGo();
  const lease = await late;
  assert.equal((await before.calls("Renew")).length, 1);
  assert.ok(lease.remaining > 2_000);
  await lease.done();
  const gone = fresh();
  await before.fault("hold");
  const later = far.lock(gone, { ttl: 300 });
  await until(() => isHeld(running.address, gone), "it is granted");
  await until(async () => !(await isHeld(running.address, gone)), "it has ended");
  await before.letGo();
  await assert.rejects(later, LeaseLost);
  await far.close();
});
