// A lease that is held while code runs.
import type { Client } from "./client.js";
import { LeaseLost } from "./errors.js";
import { Renewal } from "./renewal.js";
import type { Acquired, PreviousLease } from "./values.js";

// A lease that is about to end is still worth one try to give it back.
const GIVE_BACK_MS_MIN = 100;

type Granted = Extract<Acquired, { outcome: "granted" }>;

/** What its holder knows of a lease, and how it ends it. Made by `Client.lock` and `Client.withLock`. */
export class Lease implements AsyncDisposable {
  readonly resource: string;
  readonly leaseId: string;
  /** Rises with every grant of the resource. Let the store refuse a lower one than it has seen. */
  readonly fencingToken: number;
  /** How the lease before this one ended; after "expired" or "forced" work may be half done. */
  readonly previousLease: PreviousLease;
  /** The highest version released as done, if any. */
  readonly completedVersion: number | undefined;
  /** completedVersion equals this event's version: two events of one instant, so fetch the entity afresh. */
  readonly tie: boolean;
  /** Milliseconds in the queue. */
  readonly waited: number;
  /** Aborted with LeaseLost, before the lease can end at the service. Hand it to everything that the work calls. */
  readonly signal: AbortSignal;
  private readonly renewal: Renewal;
  private ending: Promise<void> | undefined;

  /** @internal */
  constructor(
    private readonly client: Client,
    answer: Granted,
    version: number | undefined,
  ) {
    const { resource, leaseId, fencingToken, ttl, sentAt } = answer.grant;
    this.resource = resource;
    this.leaseId = leaseId;
    this.fencingToken = fencingToken;
    this.previousLease = answer.previousLease;
    this.completedVersion = answer.completedVersion;
    this.tie = version !== undefined && version === answer.completedVersion;
    this.waited = answer.waited;
    this.renewal = new Renewal((how) => client.renew(resource, leaseId, how), ttl, sentAt, `the lease on ${resource}`);
    this.signal = this.renewal.loss.signal;
  }

  /** Milliseconds that the holder may still believe that it holds. */
  get remaining(): number {
    return this.renewal.remaining;
  }

  /** Whether it was ended by `done` or `retry`. */
  get ended(): boolean {
    return this.ending !== undefined;
  }

  /** Throws LeaseLost when the lease is lost. Call it between the steps of long work. */
  check(): void {
    this.renewal.check();
  }

  /** Releases it as done: its version and its event are recorded. Throws LeaseLost when it had ended before. */
  done(): Promise<void> {
    this.ending ??= this.release(true, 0);
    return this.ending;
  }

  /**
   * Releases it for a retry: nothing is recorded, and a redelivery is processed.
   *
   * @param hold milliseconds, 0 to 3,600,000, that the resource is kept for the retry of the same event
   */
  retry({ hold = 0 }: { hold?: number } = {}): Promise<void> {
    this.ending ??= this.release(false, hold);
    return this.ending;
  }

  /** Releases it for a retry unless it has ended: what broke off is repeated, never recorded. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.giveBack(0);
  }

  /** @internal */
  async start(): Promise<void> {
    try {
      await this.renewal.start(this.client.retryFor);
    } catch (error) {
      await this.giveBack(0);
      throw error;
    }
  }

  /** Releases it for a retry if that can be done while it lasts; what the work ended by matters more than this. */
  async giveBack(hold: number): Promise<void> {
    this.ending ??= this.signal.aborted ? this.stop() : this.release(false, hold, this.remaining);
    await this.ending.catch(() => {});
  }

  private async stop(): Promise<void> {
    this.renewal.stop();
  }

  private async release(done: boolean, hold: number, within?: number): Promise<void> {
    this.signal.throwIfAborted();
    this.renewal.stop();
    const limits = within === undefined ? {} : { within: Math.max(GIVE_BACK_MS_MIN, within) };
    const held = await this.client.release(this.resource, this.leaseId, { done, hold, ...limits });
    if (!held) throw new LeaseLost(`the lease on ${this.resource} had ended before the work did: nothing was recorded`);
  }
}
