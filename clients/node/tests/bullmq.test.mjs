import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Client } from "lockservice-client";
import { serialized } from "lockservice-client/bullmq";
import { fresh, service, store, until } from "./stand.mjs";

let client;
let connection;
before(async () => {
  client = new Client({ address: (await service()).address, retryFor: 200 });
  const [host, port] = (await store()).split(":");
  connection = { host, port: Number(port), maxRetriesPerRequest: null };
});
after(() => client.close());

/** Runs a queue with a worker, and closes both. */
async function running(options, process, work) {
  const name = fresh("queue").replaceAll(":", "-");
  const queue = new Queue(name, { connection });
  const events = new QueueEvents(name, { connection });
  await events.waitUntilReady();
  const worker = new Worker(name, serialized(client, options, process), { connection, concurrency: 10 });
  try {
    await work(queue, events);
  } finally {
    await Promise.all([worker.close(), events.close()]);
    await queue.close();
  }
}

const entity = (job) => job.data;

test("jobs of one entity run one after another, those of others beside them", async () => {
  const resource = fresh();
  const at = new Map();
  let most = 0;
  const process = async (job) => {
    at.set(job.data.resource, (at.get(job.data.resource) ?? 0) + 1);
    most = Math.max(most, at.size);
    assert.equal(at.get(job.data.resource), 1);
    await sleep(20);
    at.delete(job.data.resource);
  };
  await running({ entity, wait: 5_000 }, process, async (queue, events) => {
    const names = [resource, fresh(), fresh()];
    const jobs = await queue.addBulk(
      Array.from({ length: 15 }, (_, n) => ({ name: "event", data: { resource: names[n % 3] } })),
    );
    await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 20_000)));
  });
  assert.ok(most > 1);
});

test("what was done before is completed without work, and so is what a newer event has overtaken", async () => {
  const resource = fresh();
  let worked = 0;
  const process = async () => {
    worked += 1;
    return "done";
  };
  await running({ entity }, process, async (queue, events) => {
    const said = [];
    for (const data of [
      { resource, eventKey: "e-2", version: 2 },
      { resource, eventKey: "e-2", version: 2 },
      { resource, eventKey: "e-1", version: 1 },
    ])
      said.push(await (await queue.add("event", data)).waitUntilFinished(events, 10_000));
    assert.deepEqual(said, ["done", { skipped: "duplicate" }, { skipped: "stale" }]);
  });
  assert.equal(worked, 1);
});

test("held and early jobs come back, and use up none of their attempts", async () => {
  const [busy, early] = [fresh(), fresh()];
  const lease = await client.lock(busy, { ttl: 10_000 });
  const options = { entity, wait: 100, retryDelay: 100 };
  await running(
    options,
    async (job) => job.attemptsMade,
    async (queue, events) => {
      const jobs = await Promise.all([
        queue.add("event", { resource: busy }, { attempts: 1 }),
        queue.add("event", { resource: early, version: 2, afterVersion: 1 }, { attempts: 1 }),
      ]);
      await until(async () => (await queue.getDelayedCount()) > 0, "one is delayed");
      await sleep(500);
      await lease.done();
      await client.withLock(early, { version: 1, wait: 5_000 }, () => {});
      const made = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 10_000)));
      assert.deepEqual(made, [0, 0]);
    },
  );
});

test("work that fails is retried by BullMQ, and has recorded nothing", async () => {
  const resource = fresh();
  const process = async (job) => {
    if (job.attemptsMade === 0) throw new Error("no stock yet");
    return "packed";
  };
  await running({ entity }, process, async (queue, events) => {
    const job = await queue.add("event", { resource, eventKey: "e-1" }, { attempts: 3, backoff: 10 });
    assert.equal(await job.waitUntilFinished(events, 10_000), "packed");
    const again = await queue.add("event", { resource, eventKey: "e-1" });
    assert.deepEqual(await again.waitUntilFinished(events, 10_000), { skipped: "duplicate" });
  });
});

test("without a service jobs wait, and are done when it is back", async () => {
  const own = await service();
  const far = new Client({ address: own.address, retryFor: 100 });
  const name = fresh("queue").replaceAll(":", "-");
  const queue = new Queue(name, { connection });
  const events = new QueueEvents(name, { connection });
  await own.act(0, "kill");
  const worker = new Worker(
    name,
    serialized(far, { entity, retryDelay: 100 }, async () => "done"),
    { connection },
  );
  const job = await queue.add("event", { resource: fresh() }, { attempts: 1 });
  await until(async () => (await queue.getDelayedCount()) === 1, "it waits");
  await own.act(0, "start");
  assert.equal(await job.waitUntilFinished(events, 10_000), "done");
  await Promise.all([worker.close(), events.close(), far.close()]);
  await queue.close();
});
