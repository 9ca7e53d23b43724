// A session: the calls of a client in few messages, since a message costs far more than what is in it.
import type { ServiceError as GrpcError } from "@grpc/grpc-js";
import { closedError, lateError, operationError, ServiceError, streamError, unknownError } from "./errors.js";
import {
  AcquireOutcome,
  DedupeOutcome,
  Disposition,
  type OperationResult,
} from "./generated/lockservice/v1/lockservice.js";
import { type Kind, MAY_WAIT, Pending, Unsent } from "./pending.js";
import { type Call, type Source, Stream } from "./stream.js";

const LOOK_PAUSE_MS = 10;
const GIVE_BACK_MS = 5_000;
const CLOSE_MS = 1_000;
// Clients that were started together do not all move at one moment.
const AGE_JITTER = 0.1;

/** What a call in a session is. */
export interface Asked {
  kind: Kind;
  // biome-ignore lint/suspicious/noExplicitAny: each kind has a message of its own
  request: any;
  /** Of the message, in bytes, at most. */
  size: number;
  /** Milliseconds for it from now on. */
  limit: number;
  /** Whether a grant that comes when the caller has gone is given back. */
  givesBack: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Carries operations over one stream at a time, and opens the next one when it has ended. What is asked for within a
 * turn of the event loop leaves in one frame, what keeps or ends a lease before the rest.
 */
export class Session implements Source {
  readonly unsent = new Unsent();
  private stream: Stream | undefined;
  // One that is too old, or of a draining replica, gets nothing new, but still answers.
  private readonly streams = new Set<Stream>();
  private lastNumber = 0;
  private timer: NodeJS.Timeout | undefined;
  private lookAt = Number.POSITIVE_INFINITY;
  private closed = false;
  private emptied: (() => void) | undefined;

  constructor(
    private readonly start: () => Call,
    private readonly address: string,
    private readonly streamAge: number,
  ) {}

  /** Returns the response to an operation, or throws what the unary call throws; Unavailable when the stream broke. */
  call({ kind, request, size, limit, givesBack, signal }: Asked): Promise<unknown> {
    if (this.closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      const leave = () => {
        pending.over = true;
        this.withdraw(pending);
        reject(signal?.reason);
      };
      const pending = new Pending(kind, request, size, limit, givesBack, (answer) => {
        signal?.removeEventListener("abort", leave);
        if (answer instanceof ServiceError) reject(answer);
        else resolve(answer);
      });
      signal?.addEventListener("abort", leave, { once: true });
      this.pend(pending);
      this.wake();
    });
  }

  /** Gives up what waits, lets the rest come through for up to a second, and ends the streams. */
  async close(): Promise<void> {
    this.closed = true;
    for (const pending of this.awaited()) {
      if (!MAY_WAIT.has(pending.kind)) continue;
      pending.settle(closedError());
      this.withdraw(pending);
    }
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, CLOSE_MS);
      this.emptied = () => {
        for (const stream of this.streams) stream.close();
        if (this.streams.size > 0) return;
        clearTimeout(late);
        resolve();
      };
      this.tellEmpty();
    });
    for (const stream of [...this.streams]) this.drop(stream, closedError);
    this.fail(this.unsent, closedError);
    clearTimeout(this.timer);
  }

  /** Hands a result to its caller; what was granted to nobody is given back. */
  answered(stream: Stream, pending: Pending, result: OperationResult): void {
    let answer: unknown = result[pending.kind];
    if (result.error) {
      const error = operationError(result.error, this.address);
      if (error.reason === "DRAINING") this.retire(stream);
      answer = error;
    }
    answer ??= unknownError("an answer of another kind");
    if (pending.over) this.giveBack(pending, answer);
    else pending.settle(answer);
    this.tellEmpty();
  }

  /** Fails what was open, so that it is repeated on the next stream. */
  ended(stream: Stream, error: GrpcError | undefined): void {
    if (!this.streams.delete(stream)) return;
    const fault = () => (this.closed ? closedError() : streamError(error, this.address));
    this.fail(stream.open, fault);
    if (stream === this.stream) {
      this.stream = undefined;
      // A replica may end a stream for its age. What was not sent has lost nothing.
      if (!error && stream.heardAt > 0) this.wakeIfUnsent();
      else this.fail(this.unsent, fault);
    }
    this.tellEmpty();
  }

  /** Frees what was granted to a caller that has gone, or others would be kept off until its ttl ends. */
  giveBack(pending: Pick<Pending, "kind" | "request" | "givesBack">, answer: unknown): void {
    const undo = pending.givesBack ? undoing(pending, answer) : undefined;
    if (!undo || (this.closed && this.streams.size === 0)) return;
    this.pend(new Pending(undo.kind, undo.request, 0, GIVE_BACK_MS, false, () => {}));
    this.wake();
  }

  private pend(pending: Pending): void {
    pending.number = ++this.lastNumber;
    this.unsent.add(pending);
    if (pending.due < this.lookAt) this.setTimer(pending.due);
  }

  private wake(): void {
    if (this.stream && performance.now() >= this.stream.movesAt) {
      this.stream.retire();
      this.stream = undefined;
    }
    if (!this.stream) {
      const age = this.streamAge * (1 - AGE_JITTER + 2 * AGE_JITTER * Math.random());
      this.stream = new Stream(this.start(), this, age);
      this.streams.add(this.stream);
    }
    this.stream.wake();
  }

  private wakeIfUnsent(): void {
    if (this.unsent.size > 0) this.wake();
  }

  /** Sees to an operation whose caller has gone: its result may still come. */
  private withdraw(pending: Pending): void {
    if (this.unsent.delete(pending) || !MAY_WAIT.has(pending.kind)) return;
    for (const stream of this.streams) stream.cancel(pending.number);
  }

  private retire(stream: Stream): void {
    if (stream !== this.stream) return;
    this.stream = undefined;
    stream.retire();
    this.wakeIfUnsent();
  }

  private drop(stream: Stream, fault: () => ServiceError): void {
    this.streams.delete(stream);
    if (stream === this.stream) this.stream = undefined;
    stream.drop();
    this.fail(stream.open, fault);
  }

  /**
   * Leaves a stream on which nothing came until an operation was out of time; waited: one that may wait.
   *
   * A frozen replica would hold up every repetition: the next stream may lead to another. But a renewal is soon out of
   * time, where a replica may only be slow, and thousands that wait there would be asked again for it: they stay until
   * one of them is out of time.
   */
  private goElsewhere(stream: Stream, waited: boolean): void {
    const fault = () => streamError(undefined, this.address);
    const open = [...stream.open.values()];
    const keeping = open.filter((pending) => !MAY_WAIT.has(pending.kind));
    if (waited || keeping.length === open.length) {
      this.drop(stream, fault);
      return;
    }
    for (const pending of keeping) {
      stream.open.delete(pending.number);
      if (!pending.over) pending.settle(fault());
    }
    this.retire(stream);
  }

  private fail(lost: Unsent | Map<number, Pending>, fault: () => ServiceError): void {
    for (const pending of lost.values()) if (!pending.over) pending.settle(fault());
    lost.clear();
  }

  private awaited(): Pending[] {
    const everything = [this.unsent, ...[...this.streams].map((stream) => stream.open)];
    return everything.flatMap((some) => [...some.values()]).filter((pending) => !pending.over);
  }

  private tellEmpty(): void {
    if (!this.emptied || this.unsent.size > 0) return;
    if ([...this.streams].every((stream) => stream.open.size === 0)) this.emptied();
  }

  private setTimer(due: number): void {
    // One timer for all: most operations are answered long before they are due.
    clearTimeout(this.timer);
    this.lookAt = due;
    this.timer = setTimeout(() => this.look(), Math.max(0, due - performance.now()));
    // It does not keep a process alive that forgot to close its client.
    this.timer.unref();
  }

  /** Ends what has run out of time, and leaves a stream on which nothing comes. */
  private look(): void {
    this.lookAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    const silent = new Map<Stream, boolean>();
    for (const pending of this.awaited()) {
      if (pending.due > now) {
        next = Math.min(next, pending.due);
        continue;
      }
      pending.settle(lateError());
      const waits = MAY_WAIT.has(pending.kind);
      for (const stream of this.streams)
        if (stream.isSilent(pending)) silent.set(stream, waits || silent.get(stream) === true);
      this.withdraw(pending);
    }
    for (const [stream, waited] of silent) this.goElsewhere(stream, waited);
    this.wakeIfUnsent();
    if (next < Number.POSITIVE_INFINITY) this.setTimer(Math.max(next, now + LOOK_PAUSE_MS));
  }
}

/** Returns the operation that takes a grant back, if the answer is one. */
function undoing(
  pending: Pick<Pending, "kind" | "request">,
  // biome-ignore lint/suspicious/noExplicitAny: an answer of any kind
  answer: any,
): { kind: Kind; request: unknown } | undefined {
  const disposition = Disposition.DISPOSITION_RETRY;
  if (pending.kind === "acquire" && answer.outcome === AcquireOutcome.ACQUIRE_OUTCOME_GRANTED) {
    const { resource, leaseId } = answer.lease;
    return { kind: "release", request: { resource, leaseId, disposition, hold: undefined } };
  }
  if (pending.kind === "dedupe" && answer.outcome === DedupeOutcome.DEDUPE_OUTCOME_FIRST && answer.claimId) {
    const { key } = pending.request;
    return { kind: "settle", request: { key, claimId: answer.claimId, disposition, result: Buffer.alloc(0) } };
  }
  return undefined;
}
