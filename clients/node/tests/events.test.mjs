import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Duplicate, InProgress, Mismatch, shopifyDelivery } from "lockservice-client";
import { fresh, proxy, service } from "./stand.mjs";

const CLIENTS = process.env.LOCKSERVICE_CLIENTS ?? new URL("../..", import.meta.url).pathname;
const VECTORS = JSON.parse(readFileSync(`${CLIENTS}/deliveries.json`, "utf8"));

let running;
let client;
before(async () => {
  running = await service();
  client = new Client({ address: running.address });
});
test.after(() => client.close());

test("S17 one of ten is the first", async () => {
  const key = fresh("event");
  const answers = await Promise.all(Array.from({ length: 10 }, () => client.first(key)));
  assert.equal(answers.filter((first) => first).length, 1);
});

test("S18 others are told of a claim, or wait for its end and have the result", async () => {
  const key = fresh("event");
  let waiting;
  await client.once(key, { claimTtl: 20_000 }, async (claim) => {
    const refused = await client.once(key, {}, () => {}).catch((error) => error);
    assert.ok(refused instanceof InProgress);
    assert.ok(refused.retryAfter > 18_000 && refused.retryAfter <= 20_000);
    waiting = client.once(key, { wait: 10_000 }, () => {}).catch((error) => error);
    claim.result = Buffer.from("receipt 7");
  });
  const duplicate = await waiting;
  assert.ok(duplicate instanceof Duplicate);
  assert.equal(Buffer.from(duplicate.result).toString(), "receipt 7");
});

test("S19 a claim is renewed, a failure frees the key, another payload is a mismatch", async () => {
  const key = fresh("event");
  const fingerprint = Buffer.from("one");
  await assert.rejects(
    client.once(key, {}, () => Promise.reject(new TypeError("no"))),
    TypeError,
  );
  await client.once(key, { claimTtl: 400, fingerprint }, async (claim) => {
    await sleep(1_200);
    claim.check();
    await assert.rejects(
      client.once(key, { fingerprint }, () => {}),
      InProgress,
    );
  });
  await assert.rejects(
    client.once(key, { fingerprint: Buffer.from("two") }, () => {}),
    Mismatch,
  );
});

test("S20 a lost reply leaves the first caller the first", async () => {
  const before = await proxy(running.address);
  const far = new Client({ address: before.address });
  await before.fault("lose_reply", "Dedupe");
  assert.equal(await far.first(fresh("event")), true);
  assert.equal((await before.calls("Dedupe")).length, 2);
  await far.close();
});

for (const { name, headers, body, event_key: eventKey, resource, version } of VECTORS.deliveries)
  test(`S21 a delivery: ${name}`, () => {
    const expected = { eventKey, resource, version: version ?? undefined };
    assert.deepEqual(shopifyDelivery(headers, body), expected);
    assert.deepEqual(shopifyDelivery(headers, Buffer.from(body)), expected);
  });

for (const { name, headers, body, says } of VECTORS.refused)
  test(`S21 a delivery that is refused: ${name}`, () => {
    assert.throws(() => shopifyDelivery(headers, body), new RegExp(says));
  });
