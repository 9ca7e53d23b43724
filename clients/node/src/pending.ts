// The operations of a session that wait to be sent or answered.

export type Kind = "acquire" | "renew" | "release" | "dedupe" | "renewClaim" | "settle";
/** Kinds of operations that may be open for long. The others keep or end a lease or a claim. */
export const MAY_WAIT: ReadonlySet<Kind> = new Set(["acquire", "dedupe"]);

/** An operation that waits to be sent or answered. Times are in ms on performance.now(). */
export class Pending {
  /** Its id in the session. */
  number = 0;
  /** When it was put into a frame; 0 before. */
  sentAt = 0;
  /** Whether nobody awaits it any more. */
  over = false;
  readonly due: number;

  constructor(
    readonly kind: Kind,
    // biome-ignore lint/suspicious/noExplicitAny: each kind has a message of its own
    readonly request: any,
    readonly size: number,
    readonly limit: number,
    readonly givesBack: boolean,
    private readonly answered: (answer: unknown) => void,
  ) {
    this.due = performance.now() + limit;
  }

  /** Hands it its response, or the error that it ends in. */
  settle(answer: unknown): void {
    this.over = true;
    this.answered(answer);
  }
}

/**
 * What waits to be sent, in the order in which it leaves: first what keeps or ends a lease, since others wait for a
 * release, and a renewal must not come too late.
 */
export class Unsent {
  private readonly keeping = new Set<Pending>();
  private readonly asking = new Set<Pending>();

  get size(): number {
    return this.keeping.size + this.asking.size;
  }

  add(pending: Pending): void {
    this.of(pending).add(pending);
  }

  /** Takes one out, and says whether it was there. */
  delete(pending: Pending): boolean {
    return this.of(pending).delete(pending);
  }

  *values(): Generator<Pending> {
    yield* this.keeping;
    yield* this.asking;
  }

  clear(): void {
    this.keeping.clear();
    this.asking.clear();
  }

  private of(pending: Pending): Set<Pending> {
    return MAY_WAIT.has(pending.kind) ? this.asking : this.keeping;
  }
}
