// Takes events from the stream, and hands back what could not be finished.
import { setTimeout as sleep } from "node:timers/promises";

const [STREAM, GROUP] = ["sale:events", "workers"];
const BATCH = 64;
const BLOCK_MS = 200;
const LOOK_MS = 250;
// An entry that its worker has not been heard of for this long is given to another.
const SILENT_MS = 3_000;
const HEARTBEAT_MS = 1_000;
// One that cannot be worked on yet is claimed again after this long.
const AGAIN_MS = 500;
const FULL_MS = 10;

/** Keeps up to slots entries in work at once. */
export class Consumer {
  constructor(blocking, store, { name, slots, handle }) {
    Object.assign(this, { blocking, store, name, slots, handle });
    this.open = new Set();
  }

  /** Works until something cannot go on. */
  run() {
    return Promise.race([
      this.#read(),
      this.#claim(),
      this.#keep(),
      new Promise((_, fail) => {
        this.fail = fail;
      }),
    ]);
  }

  async #read() {
    for (;;) {
      const count = await this.#room();
      const words = ["GROUP", GROUP, this.name, "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", STREAM, ">"];
      for (const [, entries] of (await this.blocking.xreadgroup(...words)) ?? []) this.#take(entries);
    }
  }

  async #claim() {
    for (let start = "0-0"; ; ) {
      const count = await this.#room();
      const words = [STREAM, GROUP, this.name, SILENT_MS, start, "COUNT", count];
      const [next, entries] = await this.store.xautoclaim(...words);
      this.#take(entries);
      start = next;
      if (start === "0-0") await sleep(LOOK_MS);
    }
  }

  /** Says that what is in work is heard of. */
  async #keep() {
    for (;;) {
      await sleep(HEARTBEAT_MS);
      if (this.open.size > 0) await this.#heardOf(0, ...this.open);
    }
  }

  #heardOf(idle, ...names) {
    return this.store.xclaim(STREAM, GROUP, this.name, 0, ...names, "IDLE", idle, "JUSTID");
  }

  async #room() {
    while (this.open.size >= this.slots) await sleep(FULL_MS);
    return Math.min(BATCH, this.slots - this.open.size);
  }

  #take(entries) {
    for (const [id, fields] of entries) {
      if (this.open.has(id)) continue;
      this.open.add(id);
      this.#work(id, fields).catch(this.fail);
    }
  }

  async #work(id, [, headers, , body]) {
    try {
      const outcome = await this.handle(headers, body);
      if (outcome === undefined) {
        await this.store.hincrby("sale:outcomes", "handed back", 1);
        await this.#heardOf(SILENT_MS - AGAIN_MS, id);
        return;
      }
      // In this order: should the worker die on the way, the next XAUTOCLAIM tidies up.
      await Promise.all([
        this.store.hincrby("sale:outcomes", outcome, 1),
        this.store.hincrby("sale:shares", this.name, 1),
        this.store.xdel(STREAM, id),
        this.store.xack(STREAM, GROUP, id),
      ]);
    } finally {
      this.open.delete(id);
    }
  }
}
