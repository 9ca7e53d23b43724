/** Processors for BullMQ workers that work on one job of an entity at a time, in order, and on each event once. */
import { DelayedError, type Job } from "bullmq";
import {
  type Client,
  Duplicate,
  Early,
  Held,
  type Lease,
  LeaseLost,
  type LockOptions,
  Stale,
  Unavailable,
} from "./index.js";

const WAIT_MS = 2_000;
const RETRY_MS = 500;

/** What a job is about. `shopifyDelivery` makes the first three out of a webhook. */
export interface Entity {
  /** What to lock, such as an order's global id. */
  resource: string;
  /** Of the entity that the job's event carries: an older event is skipped after a newer one. */
  version?: number | undefined;
  /** The same for every delivery of one event: what was completed before is skipped. */
  eventKey?: string;
  /** Wait until the entity has been completed up to this version. */
  afterVersion?: number | undefined;
}

export interface SerializedOptions<Data> extends Pick<LockOptions, "ttl" | "wait" | "retryHold" | "eventRetention"> {
  /** Says what a job is about. */
  entity: (job: Job<Data>) => Entity;
  /** Milliseconds after which a job comes back that could not be worked on yet; 500. */
  retryDelay?: number;
}

/** What a job that needed no work returns. */
export interface Skipped {
  skipped: "duplicate" | "stale";
}

/**
 * Makes the processor of a BullMQ Worker: `new Worker(name, serialized(client, options, process), …)`.
 *
 * It takes the entity's lease, and keeps it while process runs. A duplicate or a stale event completes the job without
 * work. A job that is held or early, or whose lease is lost, or that meets no service, comes back after retryDelay, and
 * that uses up none of its attempts. An error of process itself is BullMQ's business; nothing is recorded, and with
 * retryHold the entity waits for the retry of the same event.
 *
 * A job that waits for its lease takes up one of the worker's `concurrency`: wait is 2,000 ms unless told otherwise.
 */
export function serialized<Data, Result>(
  client: Client,
  options: SerializedOptions<Data>,
  process: (job: Job<Data>, lease: Lease) => Promise<Result>,
): (job: Job<Data>, token?: string) => Promise<Result | Skipped> {
  const { entity, retryDelay = RETRY_MS, ...lock } = options;
  return async (job, token) => {
    const { resource, version, eventKey, afterVersion } = entity(job);
    const asked = {
      wait: WAIT_MS,
      ...lock,
      version,
      afterVersion,
      ...(eventKey !== undefined && { eventId: eventKey }),
    };
    try {
      return await client.withLock(resource, asked, (lease) => process(job, lease));
    } catch (error) {
      if (error instanceof Duplicate) return { skipped: "duplicate" };
      if (error instanceof Stale) return { skipped: "stale" };
      if (![Held, Early, LeaseLost, Unavailable].some((kind) => error instanceof kind)) throw error;
      await job.moveToDelayed(Date.now() + retryDelay, token);
      throw new DelayedError((error as Error).message);
    }
  };
}
