// The stack as the incident's team wrote it, faults included; the README says what is wrong with each.
import { createHash } from "node:crypto";
import { Queue, Worker } from "bullmq";

const REMEMBERED_S = 86_400;
const LOCK_S = 1;

export class Before {
  constructor({ redis, connection, books }) {
    this.redis = redis;
    this.books = books;
    this.queue = new Queue("before", { connection });
    this.worker = new Worker("before", (job) => this.#process(job.data), { connection, concurrency: 50 });
    this.worker.on("error", () => {});
  }

  async receive(headers, text) {
    const body = JSON.parse(text);
    const id = body.admin_graphql_api_id;
    const hash = createHash("md5").update(`${id}-${headers["x-shopify-topic"]}-${body.created_at}`).digest("hex");
    if (await this.redis.getdel(`webhook:${hash}`)) return;
    await this.redis.setex(`webhook:${hash}`, REMEMBERED_S, "1");
    const data = { id, topic: headers["x-shopify-topic"], status: body.financial_status };
    const jobId = `order-${id.replaceAll(":", "-")}-${Date.now()}`;
    await this.queue.add("order", data, { jobId, attempts: 5, backoff: { type: "exponential", delay: 50 } });
  }

  async #process({ id, topic, status }) {
    const lock = `lock:order:${id}`;
    if (!(await this.redis.set(lock, "1", "EX", LOCK_S, "NX"))) throw new Error("order is locked, retry later");
    try {
      if (await this.books.apply(id, topic, status)) await this.books.take("sku-7");
    } finally {
      await this.redis.del(lock);
    }
  }

  async close() {
    await this.worker.close();
    await this.queue.close();
  }
}
