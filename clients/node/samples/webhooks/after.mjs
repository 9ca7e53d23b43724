// The same stack with lockservice: the queue takes everything in, and the worker decides under the order's lease.
import { Queue, Worker } from "bullmq";
import { Client, shopifyDelivery } from "lockservice-client";
import { serialized } from "lockservice-client/bullmq";

// Longer than the shop repeats what was not answered in time.
const KEPT_S = 5 * 3_600;

export class After {
  constructor({ connection, books, address }) {
    this.books = books;
    this.client = new Client({ address });
    this.queue = new Queue("after", { connection });
    const options = { entity: (job) => this.#entity(job.data), ttl: 3_000 };
    const process = serialized(this.client, options, (job) => this.#process(job.data));
    this.worker = new Worker("after", process, { connection, concurrency: 50 });
    this.worker.on("error", () => {});
  }

  /** Does not ask lockservice: while that is down, webhooks are still taken in. */
  async receive(headers, text) {
    // The same webhook id is the same job: most duplicates end here, and the lease sees to the rest.
    const jobId = `webhook-${headers["x-shopify-webhook-id"]}`;
    await this.queue.add("order", { headers, text }, { jobId, removeOnComplete: { age: KEPT_S }, attempts: 5 });
  }

  #entity({ headers, text }) {
    const delivery = shopifyDelivery(headers, text);
    // An order's first completed version is that of its creation: nothing else is let in before.
    return { ...delivery, afterVersion: headers["x-shopify-topic"] === "orders/create" ? undefined : 1 };
  }

  async #process({ headers, text }) {
    const body = JSON.parse(text);
    const created = await this.books.apply(
      body.admin_graphql_api_id,
      headers["x-shopify-topic"],
      body.financial_status,
    );
    if (created) await this.client.withLock("stock:sku-7", { wait: 30_000 }, () => this.books.take("sku-7"));
  }

  async close() {
    await this.worker.close();
    await this.queue.close();
    await this.client.close();
  }
}
