// The team's own books, on plain Redis: read, think, write. Nothing here protects anything.
import { setTimeout as sleep } from "node:timers/promises";

export const ON_HAND = 10_000;
// Calls to the carrier and the tax office, between reading and writing. A few outlast a lock of 1 s.
const THINK_MS = [5, 40];
const SLOW = 0.02;
const SLOW_MS = 1_300;

export class Books {
  constructor(redis) {
    this.redis = redis;
  }

  /** Applies an event to its order. A creation is ordered at the warehouse, and this says so. */
  async apply(gid, topic, status) {
    const order = JSON.parse((await this.redis.get(`order:${gid}`)) ?? "null");
    await sleep(Math.random() < SLOW ? SLOW_MS : THINK_MS[0] + Math.random() * (THINK_MS[1] - THINK_MS[0]));
    await this.redis.set(`order:${gid}`, JSON.stringify({ topics: [...(order?.topics ?? []), topic], status }));
    if (topic !== "orders/create") return false;
    await this.redis.rpush("warehouse", gid);
    return true;
  }

  /** Takes one piece out of stock. */
  async take(sku) {
    const left = Number((await this.redis.get(`stock:${sku}`)) ?? ON_HAND);
    await sleep(2);
    await this.redis.set(`stock:${sku}`, left - 1);
  }

  /** Says what is wrong with the books of so many orders. */
  async audit(orders, newest) {
    const [shipped, keys, left] = await Promise.all([
      this.redis.lrange("warehouse", 0, -1),
      this.redis.keys("order:*"),
      this.redis.get("stock:sku-7"),
    ]);
    const found = await Promise.all(keys.map(async (key) => JSON.parse(await this.redis.get(key))));
    return {
      duplicateOrders: shipped.length - new Set(shipped).size,
      lostOrders: orders - new Set(shipped).size,
      lostUpdates: found.filter((order) => order.status !== newest).length,
      wrongStock: Math.abs(ON_HAND - Number(left ?? ON_HAND) - orders),
    };
  }
}
