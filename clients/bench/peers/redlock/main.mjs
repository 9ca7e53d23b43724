// Redlock on one Redis, measured as the other peers are: `main.mjs pairs|hot SOCKET COUNT SECONDS` prints one line of JSON.
import { Redis } from "ioredis";
import Redlock from "redlock";

const TTL_MS = 10_000;
const [what, path, count, seconds] = process.argv.slice(2);
const redis = new Redis({ path });
const length = Number(seconds) * 1000;
const callers = Number(count);

function quantile(values, part) {
  if (values.length === 0) return 0;
  const ordered = [...values].sort((one, other) => one - other);
  return ordered[Math.min(ordered.length - 1, Math.floor(ordered.length * part))];
}

async function pairs() {
  const redlock = new Redlock([redis]);
  const latencies = [];
  const began = performance.now();
  const caller = async (number) => {
    for (let asked; (asked = performance.now()) < began + length; ) {
      const lock = await redlock.acquire([`bench:${number}`], TTL_MS);
      latencies.push(performance.now() - asked);
      await lock.release();
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  const taken = (performance.now() - began) / 1000;
  return { operations_s: (2 * latencies.length) / taken, p50_ms: quantile(latencies, 0.5) };
}

async function hot() {
  const redlock = new Redlock([redis]);
  // What a run before left behind must not hold this one up.
  const name = `bench:hot:${process.pid}`;
  const grants = Array(callers).fill(0);
  const asked = Array(callers).fill(0);
  const handoffs = [];
  const waits = [];
  let released = 0;
  const began = performance.now();
  const worker = async (number) => {
    for (; performance.now() < began + length; ) {
      asked[number] = performance.now();
      // As many tries as the run takes: by default it gives up after 10.
      const lock = await redlock.acquire([name], TTL_MS, { retryCount: -1 });
      const now = performance.now();
      waits.push(now - asked[number]);
      asked[number] = 0;
      grants[number] += 1;
      if (released) handoffs.push(now - released);
      released = performance.now();
      await lock.release();
    }
  };
  for (let number = 0; number < callers; number += 1) worker(number);
  await new Promise((resolve) => setTimeout(resolve, length));
  const ended = performance.now();
  // Who is still waiting has waited at least so long.
  waits.push(...asked.filter(Boolean).map((since) => ended - since));
  const total = grants.reduce((sum, own) => sum + own, 0);
  return {
    handoffs_s: total / ((ended - began) / 1000),
    p50_ms: quantile(handoffs, 0.5),
    p99_ms: quantile(handoffs, 0.99),
    share: Math.min(...grants) / Math.max(1, ...grants),
    longest_wait_ms: quantile(waits, 1),
  };
}

console.log(JSON.stringify(await { pairs, hot }[what]()));
process.exit(0);
