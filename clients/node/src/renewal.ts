// Keeps a lease or a claim alive in the background, and says when it is lost before it can end elsewhere.
import { status as Code } from "@grpc/grpc-js";
import { LeaseLost, ServiceError, Unavailable } from "./errors.js";

// The holder's clock may run slower than the shard's: it stops believing this much before the end.
const DRIFT = 0.01;
const DRIFT_MS = 10;
const RENEW_PART = 1 / 3;
// One attempt that hangs at a frozen replica must leave time for another.
const ATTEMPT_PART = 1 / 6;
const AGAIN_MS = 50;
const FIRST_MS_MIN = 1_000;

/** Renews, and says whether it is still held; throws ServiceError when nobody knows. */
export type Renew = (how: { timeout: number; retryFor: number }) => Promise<boolean>;

/**
 * Renews at a third of the ttl until it is stopped or the lease is lost.
 *
 * The lease cannot end sooner than ttl after the request that was granted had left, and the holder must not believe in
 * it for longer.
 */
export class Renewal {
  /** Aborted with LeaseLost when it is lost. */
  readonly loss = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly renew: Renew,
    private readonly ttl: number,
    private sentAt: number,
    private readonly what: string,
  ) {}

  /** Milliseconds that the holder may still believe that it holds. */
  get remaining(): number {
    return this.loss.signal.aborted ? 0 : Math.max(0, this.deadline - performance.now());
  }

  /** Begins; after a long wait it renews first, since only the service knows when the grant was made. */
  async start(retryFor: number): Promise<void> {
    if (performance.now() > this.sentAt + this.ttl * RENEW_PART) {
      const timeout = Math.max(this.attempt, FIRST_MS_MIN);
      if (!(await this.once({ timeout, retryFor }))) this.lose("it had ended before its holder could begin");
      this.check();
    }
    this.setTimer();
  }

  /** Throws LeaseLost when it is lost, or when its time is over and nobody could tell so yet. */
  check(): void {
    if (this.loss.signal.aborted) throw this.loss.signal.reason;
    if (performance.now() >= this.deadline) throw new LeaseLost(`${this.what} is lost: its time is over`);
  }

  /** Renews no more. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private get deadline(): number {
    return this.sentAt + this.ttl * (1 - DRIFT) - DRIFT_MS;
  }

  private get attempt(): number {
    return Math.max(AGAIN_MS, this.ttl * ATTEMPT_PART);
  }

  private setTimer(): void {
    if (this.stopped) return;
    const delay = this.sentAt + this.ttl * RENEW_PART - performance.now();
    this.timer = setTimeout(() => void this.keep(), Math.max(0, delay));
  }

  private async keep(): Promise<void> {
    if (performance.now() >= this.deadline) {
      // The process was stopped, or its loop blocked. Others may hold it: a renewal would only take time.
      this.lose("its time was over while this process did not run");
      return;
    }
    // Whatever happens on the way, the holder hears of the loss in time.
    this.timer = setTimeout(() => this.lose("it could not be renewed in time"), this.deadline - performance.now());
    const held = await this.untilKnown();
    clearTimeout(this.timer);
    if (held === true) this.setTimer();
    else if (held === false) this.lose("it expired, or was released by force");
    else this.lose(`it cannot be renewed: ${held.message}`);
  }

  private async untilKnown(): Promise<boolean | ServiceError> {
    while (!this.stopped) {
      try {
        return await this.once({ timeout: this.attempt, retryFor: this.remaining });
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        if (!(error instanceof Unavailable) && error.code !== Code.DEADLINE_EXCEEDED) return error;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    return false;
  }

  private async once(how: { timeout: number; retryFor: number }): Promise<boolean> {
    const sentAt = performance.now();
    const held = await this.renew(how);
    if (held) this.sentAt = sentAt;
    return held;
  }

  private lose(why: string): void {
    if (this.stopped) return;
    this.stop();
    this.loss.abort(new LeaseLost(`${this.what} is lost: ${why}`));
  }
}
