/** Leases, ordering and deduplication for workers that share entities: the Node client of lockservice. */
export { Claim } from "./claim.js";
export { Client } from "./client.js";
export { type Delivery, shopifyDelivery } from "./delivery.js";
export {
  Duplicate,
  Early,
  Held,
  InProgress,
  InvalidRequest,
  LeaseLost,
  Mismatch,
  NotAllowed,
  Refused,
  ServiceError,
  Stale,
  Unavailable,
} from "./errors.js";
export { Lease } from "./lease.js";
export type { AcquireOptions, ClientOptions, DedupeOptions, LockOptions } from "./options.js";
export type { Acquired, Deduped, Grant, Holder, PreviousLease } from "./values.js";
