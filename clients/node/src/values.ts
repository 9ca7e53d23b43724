// What the service answers, as values. Times are in milliseconds.

/** How the lease before this one ended; after "expired" or "forced" work may be half done. */
export type PreviousLease = "" | "released" | "expired" | "forced";

/** Who holds a resource. */
export interface Holder {
  readonly owner: string;
  readonly fencingToken: number;
  /** Milliseconds that the lease still lasts, unless it is renewed. */
  readonly remaining: number;
}

/** A lease that was granted. */
export interface Grant {
  readonly resource: string;
  /** The secret that renew and release present. */
  readonly leaseId: string;
  /** Rises with every grant of the resource, and stays below 2^53: give it to the store that you write to. */
  readonly fencingToken: number;
  /** Milliseconds, counted from sentAt. */
  readonly ttl: number;
  /** When the request left, on performance.now(). */
  readonly sentAt: number;
}

interface Answer {
  /** Milliseconds in the queue. */
  readonly waited: number;
  /** The highest version released as done, if any. */
  readonly completedVersion: number | undefined;
}

/** The answer of an acquire. */
export type Acquired =
  | (Answer & { readonly outcome: "granted"; readonly grant: Grant; readonly previousLease: PreviousLease })
  | (Answer & { readonly outcome: "held"; readonly holder: Holder | undefined })
  | (Answer & { readonly outcome: "duplicate" | "stale" | "early" });

/** The answer of a dedupe. */
export type Deduped =
  | { readonly outcome: "first"; readonly claimId: string; readonly sentAt: number }
  | { readonly outcome: "duplicate"; readonly result: Uint8Array; readonly firstSeen: Date }
  | { readonly outcome: "in_progress"; readonly retryAfter: number }
  | { readonly outcome: "mismatch" };
