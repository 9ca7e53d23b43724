// Sends a storm of webhooks over 500 connections, first at the stack as it was written, then at the one with lockservice.
import { setTimeout as sleep } from "node:timers/promises";
import autocannon from "autocannon";
import { Redis } from "ioredis";
import { After } from "./after.mjs";
import { Before } from "./before.mjs";
import { Books } from "./books.mjs";
import { NEWEST, storm } from "./events.mjs";
import { serve } from "./server.mjs";

const ORDERS = Number(process.env.ORDERS ?? 200);
const CONNECTIONS = Number(process.env.CONNECTIONS ?? 500);
const [host, port] = (process.env.REDIS_ADDR ?? "127.0.0.1:6379").split(":");
const connection = { host, port: Number(port), maxRetriesPerRequest: null };

async function send(url, deliveries) {
  let next = 0;
  const setupRequest = (request) => {
    const { headers, body } = deliveries[next % deliveries.length];
    next += 1;
    return { ...request, headers, body };
  };
  const options = {
    url,
    method: "POST",
    connections: Math.min(CONNECTIONS, deliveries.length),
    amount: deliveries.length,
  };
  return autocannon({ ...options, timeout: 30, requests: [{ setupRequest }] });
}

/** Waits until the queue has nothing left to do, for a moment. */
async function done(queue) {
  for (let quiet = 0; quiet < 5; ) {
    const { wait, active, delayed, prioritized } = await queue.getJobCounts("wait", "active", "delayed", "prioritized");
    quiet = wait + active + delayed + (prioritized ?? 0) === 0 ? quiet + 1 : 0;
    await sleep(100);
  }
}

async function play(Stack) {
  const redis = new Redis(connection);
  await redis.flushall();
  const books = new Books(redis);
  const stack = new Stack({ redis, connection, books, address: process.env.LOCKSERVICE_ADDR });
  const server = await serve((headers, text) => stack.receive(headers, text));
  const deliveries = storm(ORDERS);
  const sent = await send(`http://127.0.0.1:${server.address().port}/webhooks`, deliveries);
  await done(stack.queue);
  const { failed } = await stack.queue.getJobCounts("failed");
  const found = await books.audit(ORDERS, NEWEST);
  await stack.close();
  server.close();
  await redis.quit();
  const { "2xx": answered, non2xx, errors, timeouts } = sent;
  return { connections: sent.connections, answered, refused: non2xx + errors + timeouts, failedJobs: failed, ...found };
}

const result = { before: await play(Before), after: await play(After) };
if (process.argv.includes("--json")) console.log(JSON.stringify(result));
else console.table(result);
