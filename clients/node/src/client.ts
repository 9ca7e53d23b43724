// The client: every call of the service, and the blocks that most workers need, `withLock` and `once`.
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { Calls, Target } from "./channel.js";
import { Claim } from "./claim.js";
import { claimRefusal, refusal } from "./errors.js";
import { Disposition, ReleaseOutcome, RenewOutcome, SettleOutcome } from "./generated/lockservice/v1/lockservice.js";
import { Lease } from "./lease.js";
import { acquired, deduped } from "./messages.js";
import {
  type AcquireOptions,
  type ClientOptions,
  type DedupeOptions,
  type LockOptions,
  toDuration,
} from "./options.js";
import type { Acquired, Deduped } from "./values.js";

const CALL_MS = 5_000;
const RETRY_MS = 10_000;
const STREAM_AGE_MS = 300_000;
const TTL_MS = 10_000;
const CLAIM_TTL_MS = 30_000;

interface Limits {
  timeout?: number;
  retryFor?: number;
}

/**
 * Talks to lockservice. Close it, or use `await using`.
 *
 * Every call throws ServiceError when the service cannot or will not do it. What may be unavailable for a moment is
 * repeated with the same ids for retryFor milliseconds.
 */
export class Client implements AsyncDisposable {
  readonly address: string;
  readonly owner: string;
  readonly retryFor: number;
  private readonly calls: Calls;
  // 96 random bits tell clients apart, and a count the requests of one.
  private readonly requestPrefix = randomBytes(12).toString("hex");
  private requestCount = 0;

  /** @throws TypeError: a token would be sent in the clear */
  constructor(options: ClientOptions = {}) {
    const target = new Target(options);
    const how = { unary: options.unary ?? false, streamAge: options.streamAge ?? STREAM_AGE_MS };
    this.address = target.address;
    this.owner = options.owner ?? `${hostname()}:${process.pid}`;
    this.retryFor = options.retryFor ?? RETRY_MS;
    this.calls = new Calls(target, how);
  }

  /** Closes the connections once releases on their way are through. Leases still held run out by themselves. */
  async close(): Promise<void> {
    await this.calls.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Holds a lease while work runs, renewed at a third of its ttl. The work's end releases it as done, an error as to be
   * retried. When the lease is lost `lease.signal` is aborted, and this throws LeaseLost once the work has ended.
   *
   * @throws Held, Duplicate, Stale, Early: it was not granted
   */
  async withLock<T>(resource: string, options: LockOptions, work: (lease: Lease) => Promise<T> | T): Promise<T> {
    const lease = await this.lock(resource, options);
    let result: T;
    try {
      result = await work(lease);
      lease.signal.throwIfAborted();
    } catch (error) {
      await lease.giveBack(options.retryHold ?? 0);
      throw lease.signal.aborted ? lease.signal.reason : error;
    }
    if (!lease.ended) await lease.done();
    return result;
  }

  /** Takes a lease, and keeps it until `lease.done()` or `lease.retry()`; `await using` retries what was not done. */
  async lock(resource: string, options: AcquireOptions = {}): Promise<Lease> {
    const answer = await this.acquire(resource, { ttl: TTL_MS, ...options });
    if (answer.outcome !== "granted") throw refusal(resource, answer);
    const lease = new Lease(this, answer, options.version);
    await lease.start();
    return lease;
  }

  /**
   * Processes an event once, in two phases. The work's end remembers the key and `claim.result`; an error frees it, so
   * that a redelivery is processed.
   *
   * @throws Duplicate, InProgress, Mismatch: this caller is not the first
   */
  async once<T>(key: string, options: DedupeOptions, work: (claim: Claim) => Promise<T> | T): Promise<T> {
    const claimTtl = options.claimTtl ?? CLAIM_TTL_MS;
    const answer = await this.dedupe(key, { ...options, claimTtl });
    if (answer.outcome !== "first") throw claimRefusal(key, answer);
    const claim = new Claim(this, key, answer.claimId, claimTtl, answer.sentAt);
    let result: T;
    try {
      await claim.start();
      result = await work(claim);
      claim.signal.throwIfAborted();
    } catch (error) {
      await claim.giveBack();
      throw claim.signal.aborted ? claim.signal.reason : error;
    }
    await claim.done();
    return result;
  }

  /**
   * Remembers a key at once, and says whether this caller is the first. Only for work that may be lost: if the caller
   * dies, a redelivery is still a duplicate.
   */
  async first(key: string, options: Pick<DedupeOptions, "retention"> = {}): Promise<boolean> {
    return (await this.dedupe(key, options)).outcome === "first";
  }

  /** Takes a lease, or says why not. Nobody renews it. */
  async acquire(resource: string, options: AcquireOptions = {}): Promise<Acquired> {
    const { ttl, wait = 0, version, afterVersion, requestId, signal } = options;
    const request = {
      resource,
      owner: this.owner,
      ttl: toDuration(ttl),
      waitTimeout: wait ? toDuration(wait) : undefined,
      requestId: requestId ?? this.newRequestId(),
      version,
      afterVersion,
      allowStale: options.allowStale ?? false,
      eventId: options.eventId ?? "",
      eventRetention: toDuration(options.eventRetention),
    };
    // Who has named a request may come back for its grant; to another nobody can.
    const how = { timeout: CALL_MS, retryFor: this.retryFor, wait, givesBack: requestId === undefined, signal };
    const { response, sentAt } = await this.calls.call("acquire", request, how);
    return acquired(response, sentAt);
  }

  /** Extends a lease, and says whether it is still held; if not, stop the work. ttl in ms from now. */
  async renew(resource: string, leaseId: string, options: Limits & { ttl?: number } = {}): Promise<boolean> {
    const request = { resource, leaseId, ttl: toDuration(options.ttl) };
    const { response } = await this.calls.call("renew", request, this.limits(options));
    return response.outcome === RenewOutcome.RENEW_OUTCOME_RENEWED;
  }

  /** Gives a lease back, as done unless told otherwise, and says whether it was still held. */
  async release(
    resource: string,
    leaseId: string,
    { done = true, hold = 0, within }: { done?: boolean; hold?: number; within?: number } = {},
  ): Promise<boolean> {
    const request = { resource, leaseId, disposition: disposition(done), hold: hold ? toDuration(hold) : undefined };
    const { response } = await this.calls.call("release", request, this.within(within));
    return response.outcome === ReleaseOutcome.RELEASE_OUTCOME_RELEASED;
  }

  /** Claims an event key; without claimTtl it is remembered at once. */
  async dedupe(key: string, options: DedupeOptions = {}): Promise<Deduped> {
    const { wait = 0, requestId, signal } = options;
    const request = {
      key,
      retention: toDuration(options.retention),
      claimTtl: toDuration(options.claimTtl),
      owner: this.owner,
      requestId: requestId ?? this.newRequestId(),
      fingerprint: Buffer.from(options.fingerprint ?? []),
      waitTimeout: wait ? toDuration(wait) : undefined,
    };
    const how = { timeout: CALL_MS, retryFor: this.retryFor, wait, givesBack: requestId === undefined, signal };
    const { response, sentAt } = await this.calls.call("dedupe", request, how);
    return deduped(response, sentAt);
  }

  /** Extends a claim, and says whether it is still held. */
  async renewClaim(key: string, claimId: string, options: Limits & { claimTtl?: number } = {}): Promise<boolean> {
    const request = { key, claimId, claimTtl: toDuration(options.claimTtl) };
    const { response } = await this.calls.call("renewClaim", request, this.limits(options));
    return response.outcome === RenewOutcome.RENEW_OUTCOME_RENEWED;
  }

  /** Ends a claim, as done unless told otherwise, and says whether it was still held. */
  async settle(
    key: string,
    claimId: string,
    { done = true, result, within }: { done?: boolean; result?: Uint8Array; within?: number } = {},
  ): Promise<boolean> {
    const request = { key, claimId, disposition: disposition(done), result: Buffer.from(result ?? []) };
    const { response } = await this.calls.call("settle", request, this.within(within));
    return response.outcome === SettleOutcome.SETTLE_OUTCOME_SETTLED;
  }

  private newRequestId(): string {
    return this.requestPrefix + (this.requestCount++).toString(16);
  }

  private limits({ timeout = CALL_MS, retryFor = this.retryFor }: Limits): Required<Limits> {
    return { timeout, retryFor };
  }

  private within(within: number | undefined): Required<Limits> {
    return within === undefined ? this.limits({}) : { timeout: Math.min(CALL_MS, within), retryFor: within };
  }
}

function disposition(done: boolean): Disposition {
  return done ? Disposition.DISPOSITION_DONE : Disposition.DISPOSITION_RETRY;
}
