// One gRPC stream of a session: a writer, a reader, and the operations that it still owes an answer.
import type { ClientDuplexStream, ServiceError as GrpcError } from "@grpc/grpc-js";
import type {
  Operation,
  OperationResult,
  SessionRequest,
  SessionResponse,
} from "./generated/lockservice/v1/lockservice.js";
import { type Kind, MAY_WAIT, type Pending, type Unsent } from "./pending.js";

export const OPERATIONS_PER_FRAME_MAX = 1_000;
// gRPC refuses a message of 4 MiB unless it is told otherwise.
export const FRAME_BYTES_MAX = 1 << 20;
// The service refuses more than 10,000 on one stream, and counts an operation until its answer has left. The rest is
// for what keeps or ends a lease, or those that wait for it would fill the stream for good.
export const OPEN_MAX = 9_000;
export const KEEPING_MAX = 500;

export type Call = ClientDuplexStream<SessionRequest, SessionResponse>;

/** Where a stream gets operations from, and what it tells. */
export interface Source {
  readonly unsent: Unsent;
  answered(stream: Stream, pending: Pending, result: OperationResult): void;
  ended(stream: Stream, error: GrpcError | undefined): void;
}

/** Carries operations until it ends. */
export class Stream {
  /** What was sent and not answered, by number. */
  readonly open = new Map<number, Pending>();
  /** When something last came; 0: never. */
  heardAt = 0;
  /** When another stream shall follow it. */
  readonly movesAt: number;
  private readonly cancels: number[] = [];
  private scheduled: NodeJS.Immediate | undefined;
  private full = false;
  private retired = false;
  private noMore = false;
  private over = false;

  constructor(
    private readonly call: Call,
    private readonly source: Source,
    age: number,
  ) {
    this.movesAt = performance.now() + age;
    call.on("data", (frame: SessionResponse) => this.take(frame));
    call.on("drain", () => {
      this.full = false;
      this.wake();
    });
    call.on("error", (error: GrpcError) => this.end(error));
    call.on("end", () => this.end(undefined));
  }

  /** Has what is there sent at the end of this turn of the event loop. */
  wake(): void {
    if (!this.scheduled && !this.full) this.scheduled = setImmediate(() => this.write());
  }

  /** Tells the service that nobody waits for an operation any more. */
  cancel(number: number): void {
    if (!this.open.has(number) || this.noMore) return;
    this.cancels.push(number);
    this.wake();
  }

  /** Takes no more operations, and closes when what is open has been answered or cancelled. */
  retire(): void {
    this.retired = true;
    this.wake();
  }

  /** Sends no more. The service answers what is open, and then ends the stream. */
  close(): void {
    if (!this.noMore) this.call.end();
    this.noMore = true;
  }

  /** Ends at once, whatever is open. */
  drop(): void {
    this.noMore = true;
    this.over = true;
    this.call.cancel();
  }

  /** Says whether nothing has come since an operation was sent, which has run out of time here. */
  isSilent(pending: Pending): boolean {
    const { number, sentAt, due, limit } = pending;
    return this.open.has(number) && this.heardAt < sentAt && sentAt <= due - limit / 2;
  }

  private write(): void {
    this.scheduled = undefined;
    while (!this.noMore && !this.full) {
      const operations = this.fill();
      if (operations.length === 0) break;
      this.full = !this.call.write({ operations });
    }
    if (this.retired && this.open.size === 0) this.close();
  }

  private fill(): Operation[] {
    const frame: Operation[] = this.cancels
      .splice(0, OPERATIONS_PER_FRAME_MAX)
      .map((id) => ({ id: 0, cancel: { id }, traceparent: "" }));
    if (this.retired) return frame;
    const now = performance.now();
    let size = 0;
    for (const pending of this.source.unsent.values()) {
      if (frame.length >= OPERATIONS_PER_FRAME_MAX || size >= FRAME_BYTES_MAX || !this.hasRoom(pending.kind)) break;
      this.source.unsent.delete(pending);
      frame.push({ id: pending.number, traceparent: "", [pending.kind]: pending.request });
      pending.sentAt = now;
      this.open.set(pending.number, pending);
      size += pending.size;
    }
    return frame;
  }

  private hasRoom(kind: Kind): boolean {
    return this.open.size < OPEN_MAX + (MAY_WAIT.has(kind) ? 0 : KEEPING_MAX);
  }

  private take(frame: SessionResponse): void {
    this.heardAt = performance.now();
    for (const result of frame.results) {
      const pending = this.open.get(result.id);
      if (!pending) continue;
      this.open.delete(result.id);
      this.source.answered(this, pending, result);
    }
    if (this.retired || this.source.unsent.size > 0) this.wake();
  }

  private end(error: GrpcError | undefined): void {
    if (this.scheduled) clearImmediate(this.scheduled);
    const told = this.over;
    this.noMore = true;
    this.over = true;
    if (!told) this.source.ended(this, error);
  }
}
