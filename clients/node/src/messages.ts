// Turns messages of the wire into values.
import { unknownError } from "./errors.js";
import {
  AcquireOutcome,
  type AcquireResponse,
  DedupeOutcome,
  type DedupeResponse,
  PreviousLease as Previous,
} from "./generated/lockservice/v1/lockservice.js";
import { fromDuration } from "./options.js";
import type { Acquired, Deduped, PreviousLease } from "./values.js";

const PREVIOUS: Readonly<Partial<Record<Previous, PreviousLease>>> = {
  [Previous.PREVIOUS_LEASE_RELEASED]: "released",
  [Previous.PREVIOUS_LEASE_EXPIRED]: "expired",
  [Previous.PREVIOUS_LEASE_FORCED]: "forced",
};

/** Reads the answer of an acquire that was sent at sentAt. */
export function acquired(response: AcquireResponse, sentAt: number): Acquired {
  const answer = { waited: fromDuration(response.waited), completedVersion: response.completedVersion };
  const { lease, holder } = response;
  switch (response.outcome) {
    case AcquireOutcome.ACQUIRE_OUTCOME_GRANTED: {
      if (!lease) throw unknownError("a grant without a lease");
      const { resource, leaseId, fencingToken } = lease;
      const grant = { resource, leaseId, fencingToken, ttl: fromDuration(lease.ttl), sentAt };
      return { ...answer, outcome: "granted", grant, previousLease: PREVIOUS[response.previousLease] ?? "" };
    }
    case AcquireOutcome.ACQUIRE_OUTCOME_HELD:
      return { ...answer, outcome: "held", holder: holder && { ...holder, remaining: fromDuration(holder.remaining) } };
    case AcquireOutcome.ACQUIRE_OUTCOME_DUPLICATE:
      return { ...answer, outcome: "duplicate" };
    case AcquireOutcome.ACQUIRE_OUTCOME_STALE:
      return { ...answer, outcome: "stale" };
    case AcquireOutcome.ACQUIRE_OUTCOME_EARLY:
      return { ...answer, outcome: "early" };
    default:
      throw unknownError(`outcome ${response.outcome}`);
  }
}

/** Reads the answer of a dedupe that was sent at sentAt. */
export function deduped(response: DedupeResponse, sentAt: number): Deduped {
  switch (response.outcome) {
    case DedupeOutcome.DEDUPE_OUTCOME_FIRST:
      return { outcome: "first", claimId: response.claimId, sentAt };
    case DedupeOutcome.DEDUPE_OUTCOME_DUPLICATE:
      return { outcome: "duplicate", result: response.result, firstSeen: response.firstSeen ?? new Date(0) };
    case DedupeOutcome.DEDUPE_OUTCOME_IN_PROGRESS:
      return { outcome: "in_progress", retryAfter: fromDuration(response.retryAfter) };
    case DedupeOutcome.DEDUPE_OUTCOME_MISMATCH:
      return { outcome: "mismatch" };
    default:
      throw unknownError(`outcome ${response.outcome}`);
  }
}
