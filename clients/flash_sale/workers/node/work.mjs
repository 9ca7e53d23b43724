// The work on one event: read documents, change them, write them back.
import { setTimeout as sleep } from "node:timers/promises";
import { Duplicate, Early, Held, LeaseLost, ServiceError, Stale } from "lockservice-client";
import { parse } from "lossless-json";
import { apply, has, isTie, move, newOrder, readOrder, readStock, write } from "./documents.mjs";
import { CREATED, kept, read } from "./event.mjs";

const [ORDER_MIN_MS, ORDER_MAX_MS] = [100, 400];
// Some calls of the work outlast a lease that nobody renews.
const [SLOW, SLOW_MS] = [0.004, 5_200];
const STOCK_MS = 2;

class NoOrderYet extends Error {}

export class Worker {
  constructor(store, guard) {
    this.store = store;
    this.guard = guard;
  }

  /** Works on a delivery, and says how it ended; undefined: not now, it shall come back. */
  async handle(headers, body) {
    const event = read(headers, body);
    try {
      return await this.guard.order(event, () => this.#process(event));
    } catch (error) {
      if (error instanceof Duplicate) return "duplicate";
      if (error instanceof Stale) return "stale";
      await this.#count(why(error));
      return undefined;
    }
  }

  async #process(event) {
    const key = `order:${event.gid}`;
    const text = await this.store.get(key);
    if (text === null && event.topic !== CREATED) throw new NoOrderYet();
    await sleep(Math.random() < SLOW ? SLOW_MS : ORDER_MIN_MS + Math.random() * (ORDER_MAX_MS - ORDER_MIN_MS));
    const document = text === null ? newOrder(event.gid, await this.store.incr("sale:numbers")) : readOrder(text);
    const again = has(document, event);
    if (!again) {
      const fresh = isTie(document, event) ? await this.#askShop(event) : undefined;
      apply(document, event, fresh);
      await this.store.set(key, write(document));
    }
    // A worker may have died after the write, so what follows is done again, under the order's number.
    if (event.topic === CREATED) {
      const told = ["warehouse", "confirmation"].map((what) => JSON.stringify([what, event.gid, document.number]));
      await this.store.rpush("sale:outside", ...told);
    }
    for (const [variant, count] of event.pieces) await this.#move(event, document, variant, count);
    return again ? "in the document" : "done";
  }

  /** Asks for the order as it is, after two events of one instant. */
  async #askShop(event) {
    await this.#count("tie");
    const body = await this.store.get(`shop:${event.gid}`);
    return body === null ? undefined : kept(parse(body));
  }

  #move(event, { number }, variant, count) {
    const key = `stock:${variant}`;
    const name = count < 0 ? String(number) : `${number}/${event.bodyId}`;
    return this.guard.stock(event, variant, async () => {
      const stock = readStock(await this.store.get(key));
      await sleep(STOCK_MS);
      if (move(stock, name, count)) await this.store.set(key, JSON.stringify(stock));
    });
  }

  #count(what) {
    return this.store.hincrby("sale:outcomes", what, 1);
  }
}

/** Names why an event comes back; throws what is no reason for that. */
function why(error) {
  if (error instanceof Early) return "early";
  if (error instanceof Held) return "held";
  if (error instanceof LeaseLost) return "leaselost";
  if (error instanceof NoOrderYet) return "no order yet";
  if (error instanceof ServiceError) return error.reason || error.name.toLowerCase();
  throw error;
}
