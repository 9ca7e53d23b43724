// A claim on an event key, while the event is processed.
import type { Client } from "./client.js";
import { LeaseLost } from "./errors.js";
import { Renewal } from "./renewal.js";

const GIVE_BACK_MS_MIN = 100;

/** What its holder knows of a claim. Made by `Client.once`. */
export class Claim {
  /** Up to 4096 bytes, handed to later duplicates. */
  result: Uint8Array = new Uint8Array();
  /** Aborted with LeaseLost, before the claim can run out at the service. */
  readonly signal: AbortSignal;
  private readonly renewal: Renewal;

  /** @internal */
  constructor(
    private readonly client: Client,
    readonly key: string,
    readonly claimId: string,
    ttl: number,
    sentAt: number,
  ) {
    this.renewal = new Renewal((how) => client.renewClaim(key, claimId, how), ttl, sentAt, `the claim on ${key}`);
    this.signal = this.renewal.loss.signal;
  }

  /** Milliseconds that the holder may still believe that it has the claim. */
  get remaining(): number {
    return this.renewal.remaining;
  }

  /** Throws LeaseLost when the claim is lost. */
  check(): void {
    this.renewal.check();
  }

  /** @internal */
  start(): Promise<void> {
    return this.renewal.start(this.client.retryFor);
  }

  /** @internal Remembers the key and the result. Throws LeaseLost when the claim had ended before. */
  async done(): Promise<void> {
    this.signal.throwIfAborted();
    this.renewal.stop();
    if (!(await this.client.settle(this.key, this.claimId, { done: true, result: this.result })))
      throw new LeaseLost(`the claim on ${this.key} had ended before the work did: nothing was recorded`);
  }

  /** @internal Frees the key, if that can be done while the claim lasts. */
  async giveBack(): Promise<void> {
    const within = Math.max(GIVE_BACK_MS_MIN, this.remaining);
    this.renewal.stop();
    if (!this.signal.aborted) await this.client.settle(this.key, this.claimId, { done: false, within }).catch(() => {});
  }
}
