// What stands between the events of one order. Times are in milliseconds.
import { CREATED } from "./event.mjs";

const ORDER_TTL = 4_000;
const STOCK_TTL = 3_000;
const WAIT = 10_000;

/** One lease an order, one a variant; both know which events they have seen. */
export class Leases {
  constructor(client) {
    this.client = client;
  }

  order({ shop, gid, key, topic, delta, version }, work) {
    const options = { ttl: ORDER_TTL, wait: WAIT, eventId: key };
    if (!delta) options.version = version;
    // Nothing before the order's creation.
    if (topic !== CREATED) options.afterVersion = 1;
    return this.client.withLock(`${shop}:${gid}`, options, work);
  }

  stock({ shop }, variant, work) {
    return this.client.withLock(`${shop}:${variant}`, { ttl: STOCK_TTL, wait: WAIT }, work);
  }
}

/** Everybody at once, as before the incident. */
export const nothing = { order: (_, work) => work(), stock: (_event, _variant, work) => work() };
