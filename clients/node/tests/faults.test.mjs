import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, InvalidRequest, NotAllowed, ServiceError, Unavailable } from "lockservice-client";
import { queueLength } from "./admin.mjs";
import { fresh, proxy, service, stranger, until } from "./stand.mjs";

test("S22 a restart is no error, and a lease survives it", async () => {
  const running = await service();
  const client = new Client({ address: running.address });
  const kept = fresh();
  const lease = await client.lock(kept, { ttl: 6_000 });
  await running.act(0, "kill");
  const asked = client.acquire(fresh());
  await running.act(0, "start");
  assert.equal((await asked).outcome, "granted");
  await sleep(2_500);
  lease.check();
  assert.equal((await client.acquire(kept)).outcome, "held");
  await client.close();
});

for (const unary of [false, true])
  test(`S23 a killed replica is left, ${unary ? "unary" : "session"}`, async () => {
    const pair = await service({ replicas: 2 });
    const client = new Client({ address: pair.target, unary });
    for (let call = 0; call < 4; call += 1) assert.equal((await client.acquire(fresh())).outcome, "granted");
    for (const victim of [0, 1]) {
      await pair.act(victim, "kill");
      for (let call = 0; call < 4; call += 1) assert.equal((await client.acquire(fresh())).outcome, "granted");
      await pair.act(victim, "start");
    }
    await client.close();
  });

test("S23 unary calls are shared out among the replicas", async () => {
  const pair = await service({ replicas: 2 });
  const [one, two] = await Promise.all(pair.addresses.map((address) => proxy(address)));
  const client = new Client({ address: `ipv4:${one.address},${two.address}`, unary: true });
  for (let call = 0; call < 20; call += 1) await client.acquire(fresh());
  for (const each of [one, two]) assert.ok((await each.calls("Acquire")).length >= 5);
  await client.close();
});

test("S24 a drain moves a waiting caller, in its place", async () => {
  const pair = await service({ replicas: 2 });
  const [first, second] = pair.addresses;
  const resource = fresh();
  const order = [];
  const later = new Client({ address: second });
  const moved = new Client({ address: `ipv4:${first},${second}` });
  const lease = await later.lock(resource, { ttl: 30_000 });
  const wait = (client, name) => client.withLock(resource, { wait: 20_000 }, () => order.push(name));
  const waiting = [wait(moved, "moved")];
  await until(async () => (await queueLength(second, resource)) === 1, "it waits");
  waiting.push(wait(later, "later"));
  await until(async () => (await queueLength(second, resource)) === 2, "both wait");
  await pair.act(0, "terminate");
  await sleep(500);
  await lease.done();
  await Promise.all(waiting);
  assert.deepEqual(order, ["moved", "later"]);
  await Promise.all([moved.close(), later.close()]);
});

test("S25 a frozen replica is left", async () => {
  const pair = await service({ replicas: 2 });
  const client = new Client({ address: pair.target });
  await client.acquire(fresh());
  await pair.act(0, "freeze");
  const outcomes = [];
  for (let call = 0; call < 5; call += 1)
    outcomes.push(
      await client.acquire(fresh()).then(
        (answer) => answer.outcome,
        (error) => error.name,
      ),
    );
  await pair.act(0, "thaw");
  assert.deepEqual(outcomes.slice(2), ["granted", "granted", "granted"]);
  await client.close();
});

for (const kind of ["closed", "http", "silent"])
  test(`S26 a stranger: ${kind}`, async () => {
    const address = await stranger(kind);
    const client = new Client({ address, retryFor: 200 });
    const began = performance.now();
    const error = await client.acquire("x").catch((caught) => caught);
    assert.ok(error instanceof ServiceError, String(error));
    if (kind !== "silent") {
      assert.ok(error instanceof Unavailable, String(error));
      assert.ok(error.message.includes(address), error.message);
    }
    assert.ok(performance.now() - began < 8_000);
    await client.close();
  });

for (const [name, tls, files, says] of [
  ["plaintext to TLS", "server", [], /expect TLS/],
  ["TLS to plaintext", "", ["ca"], /does not speak TLS/],
  ["an expired certificate", "expired", ["ca"], /certificate.*expired/],
  ["an unknown authority", "server", ["other_ca"], /certificate/],
  ["no client certificate", "mutual", ["ca"], /TLS|certificate|closed|reached/],
  ["a good certificate", "server", ["ca"], undefined],
  ["a client certificate", "mutual", ["ca", "cert", "key"], undefined],
])
  test(`S27 ${name}`, async () => {
    const running = await service({ tls });
    const options = Object.fromEntries(files.map((file) => [file === "other_ca" ? "ca" : file, running[file]]));
    const client = new Client({ address: running.address, retryFor: 200, ...options });
    if (says) {
      const error = await client.acquire("x").catch((caught) => caught);
      assert.ok(error instanceof Unavailable, String(error));
      assert.match(error.message, says);
    } else assert.equal((await client.acquire("x")).outcome, "granted");
    await client.close();
  });

for (const fault of ["unauthenticated", "permission_denied"])
  test(`S28 ${fault} is not repeated`, async () => {
    const before = await proxy((await service()).address);
    const client = new Client({ address: before.address });
    await before.fault(fault, "Acquire", 5);
    await assert.rejects(client.acquire(fresh()), NotAllowed);
    assert.equal((await before.calls("Acquire")).length, 1);
    await client.close();
  });

test("S28 a token does not cross the network in the clear", async () => {
  for (const address of ["db.example:50051", "127.example.com:50051", "localhost.example.com:50051"])
    assert.throws(() => new Client({ address, token: "secret" }), /in the clear/);
  for (const address of ["127.0.0.1:1", "dns:///localhost:1", "[::1]:1"])
    await new Client({ address, token: "secret" }).close();
  await new Client({ address: "db.example:50051", token: "secret", insecure: true }).close();
});

for (const fault of ["unknown_outcome", "unknown_kind"])
  test(`S29 an answer from the future: ${fault}`, async () => {
    const before = await proxy((await service()).address);
    const client = new Client({ address: before.address });
    const resource = fresh();
    await before.fault(fault);
    const error = await client.lock(resource, { ttl: 500 }).catch((caught) => caught);
    assert.ok(error instanceof ServiceError && /newer than this client/.test(error.message), String(error));
    assert.equal((await client.acquire(resource, { wait: 5_000 })).outcome, "granted");
    assert.equal((await before.calls("Renew")).length, 0);
    await client.close();
  });

test("S30 a request of 4 MiB harms no other call, and a response of 5 MiB arrives", async () => {
  const before = await proxy((await service()).address);
  const client = new Client({ address: before.address });
  const resource = fresh();
  const lease = await client.lock(resource);
  const waiting = client.acquire(resource, { wait: 20_000 });
  await assert.rejects(client.acquire("x".repeat(4 << 20)), ServiceError);
  await assert.rejects(client.acquire("x".repeat(70_000)), ServiceError);
  await assert.rejects(client.acquire("x".repeat(600)), InvalidRequest);
  await before.fault("large");
  assert.equal((await client.acquire(fresh())).outcome, "granted");
  await lease.done();
  assert.equal((await waiting).outcome, "granted");
  await client.close();
});

test("S31 cancelled at any point, nothing is left", async () => {
  const { address } = await service();
  const client = new Client({ address });
  const resource = fresh();
  await assert.rejects(client.acquire(resource, { signal: AbortSignal.abort() }));
  for (let delay = 0; delay < 12; delay += 1) {
    const leaving = new AbortController();
    const asked = client.acquire(resource, { ttl: 20_000, signal: leaving.signal });
    await new Promise((resolve) => (delay === 0 ? resolve() : setTimeout(resolve, delay / 4)));
    leaving.abort();
    const answer = await asked.catch(() => undefined);
    if (answer) await client.release(resource, answer.grant.leaseId);
    await until(
      async () => {
        const next = await client.acquire(resource);
        if (next.outcome === "granted") await client.release(resource, next.grant.leaseId);
        return next.outcome === "granted";
      },
      `it is given back after ${delay}`,
      1_000,
    );
  }
  assert.equal(await queueLength(address, resource), 0);
  await client.close();
});
