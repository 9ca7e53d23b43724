import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { service, store } from "./stand.mjs";

const run = promisify(execFile);
const ROOT = new URL("..", import.meta.url).pathname;

test("500 connections: the incident's stack duplicates and loses, the one with lockservice does neither", async () => {
  const sample = `${ROOT}/samples/webhooks`;
  const { address } = await service();
  const env = { ...process.env, LOCKSERVICE_ADDR: address, REDIS_ADDR: await store() };
  const { stdout } = await run(process.execPath, ["storm.mjs", "--json"], { cwd: sample, env, timeout: 150_000 });
  const { before, after } = JSON.parse(stdout);
  assert.equal(before.connections, 500);
  assert.ok(before.duplicateOrders + before.lostUpdates + before.lostOrders + before.wrongStock > 0, stdout);
  assert.ok(before.lostUpdates > 0 && before.duplicateOrders > 0, stdout);
  const { connections, answered, ...wrong } = after;
  assert.equal(connections, 500);
  assert.equal(answered, 1_500);
  for (const [name, count] of Object.entries(wrong)) assert.equal(count, 0, `${name}: ${stdout}`);
});
