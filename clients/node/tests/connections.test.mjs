// What travels on which connection and in which order: those that wait for a lease must not keep back what ends it.
import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, ServiceError } from "lockservice-client";
import { queueLength } from "./admin.mjs";
import { fresh, proxy, relay, service, until } from "./stand.mjs";

let running;
before(async () => {
  running = await service();
});

/** Returns the client's class from the package's code with other values for some of its constants. */
function clientWith(constants) {
  const require = createRequire(import.meta.url);
  const path = require.resolve("lockservice-client");
  let code = readFileSync(path, "utf8");
  for (const [name, value] of Object.entries(constants)) {
    const definition = new RegExp(`var ${name} = [^;]+;`);
    assert.match(code, definition);
    code = code.replace(definition, `var ${name} = ${value};`);
  }
  const made = { exports: {} };
  new Function("require", "module", "exports", code)(createRequire(path), made, made.exports);
  return made.exports.Client;
}

/** Has so many acquires wait for a resource, and returns what makes them leave. */
function crowd(client, resource, count, ttl = 10_000) {
  const leaving = new AbortController();
  setMaxListeners(0, leaving.signal);
  const options = { wait: 30_000, ttl, signal: leaving.signal };
  const waiting = Array.from({ length: count }, () => client.acquire(resource, options).catch(() => {}));
  return async () => {
    leaving.abort();
    await Promise.all(waiting);
  };
}

/** Says whether a release is through within 1 s beside 200 acquires, of which the proxy lets 100 through at a time. */
async function releasedBesideWaiters(client) {
  const resource = fresh();
  const lease = await client.lock(resource);
  const leave = crowd(client, resource, 200, 100);
  await until(async () => (await queueLength(running.address, resource)) >= 100, "they wait");
  const released = lease.done().then(() => true);
  const inTime = await Promise.race([released, sleep(1_000, false)]);
  await Promise.all([released, leave()]);
  await client.close();
  return inTime;
}

test("S07 a release does not queue behind waiting acquires", async () => {
  const { address } = await proxy(running.address);
  for (const unary of [false, true]) assert.ok(await releasedBesideWaiters(new Client({ address, unary })));
});

test("S07 on the same connection a call of its own would queue", async () => {
  const { address } = await proxy(running.address);
  const Changed = clientWith({ MAY_WAIT: 'new Set(["acquire", "dedupe", "release"])' });
  assert.ok(!(await releasedBesideWaiters(new Changed({ address, unary: true }))));
});

test("S33 a release and the acquire that follows it travel in one message", async () => {
  const between = await proxy(running.address);
  const client = new Client({ address: between.address });
  const resource = fresh();
  const { grant } = await client.acquire(resource);
  const { frames } = await between.seen();
  const asked = [client.release(resource, grant.leaseId), client.acquire(fresh())];
  assert.deepEqual([await asked[0], (await asked[1]).outcome], [true, "granted"]);
  const seen = await between.seen();
  assert.equal(seen.streams, 1);
  assert.equal(seen.frames, frames + 1);
  await client.close();
});

test("S07 what keeps or ends a lease or a claim leaves first, in its order", async () => {
  const between = await proxy(running.address);
  const client = new Client({ address: between.address });
  const [resource, key] = [fresh(), fresh("event")];
  const [{ grant }, { claimId }] = [await client.acquire(resource), await client.dedupe(key, { claimTtl: 20_000 })];
  const already = (await between.seen()).calls.length;
  await Promise.all([
    client.acquire(fresh()),
    client.renew(resource, grant.leaseId),
    client.first(fresh("event")),
    client.renewClaim(key, claimId),
    client.release(resource, grant.leaseId),
    client.settle(key, claimId),
  ]);
  const { calls, streams } = await between.seen();
  const methods = calls.slice(already).map((call) => call.method);
  assert.deepEqual(methods, ["Renew", "RenewClaim", "Release", "Settle", "Acquire", "Dedupe"]);
  assert.equal(streams, 1);
  await client.close();
});

/** Says whether a lease can be renewed and released while more acquires wait for it than a stream takes, which are 5. */
async function keptBesideWaiters(client) {
  const resource = fresh();
  const { grant } = await client.acquire(resource, { ttl: 30_000 });
  const leave = crowd(client, resource, 8);
  await until(async () => (await queueLength(running.address, resource)) === 5, "they fill the stream");
  try {
    await client.renew(resource, grant.leaseId, { timeout: 2_000 });
    return await client.release(resource, grant.leaseId);
  } catch (error) {
    assert.match(error.message, /^DEADLINE_EXCEEDED/);
    return false;
  } finally {
    await leave();
    await client.close();
  }
}

for (const [room, name] of [
  [500, "S07 a stream full of waiting acquires has room for a renewal and a release"],
  [0, "S07 without that room they and the acquires would wait for each other"],
])
  test(name, async () => {
    const Changed = clientWith({ OPEN_MAX: 5, KEEPING_MAX: room });
    assert.equal(await keptBesideWaiters(new Changed({ address: running.address })), room > 0);
  });

test("S07 calls of their own have another connection for releases, which a session does without", async () => {
  const between = await proxy(running.address);
  await between.fault("no_sessions", "Session", 1_000);
  for (const [address, unary, connections] of [
    [running.address, false, 1],
    [running.address, true, 2],
    [between.address, false, 2],
  ]) {
    const line = await relay(address);
    const client = new Client({ address: line.address, unary });
    const resource = fresh();
    const { grant } = await client.acquire(resource);
    await client.first(fresh("event"));
    assert.equal(line.seen.connections, 1);
    assert.equal(await client.renew(resource, grant.leaseId), true);
    assert.equal(await client.release(resource, grant.leaseId), true);
    assert.equal(line.seen.connections, connections);
    await client.close();
    await until(() => line.seen.open === 0, "all are closed");
  }
});

test("S30 what is too large for a session goes over another connection, opened for it", async () => {
  const line = await relay(running.address);
  const client = new Client({ address: line.address });
  const key = fresh("event");
  const { claimId } = await client.dedupe(key, { claimTtl: 20_000 });
  assert.equal(line.seen.connections, 1);
  await assert.rejects(client.settle(key, claimId, { result: Buffer.alloc(70_000) }), ServiceError);
  assert.equal(line.seen.connections, 2);
  assert.equal(await client.settle(key, claimId), true);
  await client.close();
  await until(() => line.seen.open === 0, "both are closed");
});

test("S07 a late renewal takes no waiter along", async () => {
  const between = await proxy(running.address);
  const client = new Client({ address: between.address });
  const resource = fresh();
  const { grant } = await client.acquire(resource, { ttl: 30_000 });
  const waiting = client.acquire(resource, { wait: 20_000 });
  await until(async () => (await queueLength(running.address, resource)) === 1, "it waits");
  await between.fault("hold", "Renew", 1);
  await assert.rejects(client.renew(resource, grant.leaseId, { timeout: 200 }), /^ServiceError: DEADLINE_EXCEEDED/);
  assert.equal(await client.renew(resource, grant.leaseId), true);
  await between.letGo();
  assert.equal(await client.release(resource, grant.leaseId), true);
  assert.equal((await waiting).outcome, "granted");
  assert.equal((await between.seen()).streams, 2);
  assert.equal((await between.calls("Acquire")).length, 2);
  await client.close();
});
