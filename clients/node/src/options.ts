// What callers may ask for. All times are in milliseconds.
import type { Duration } from "./generated/google/protobuf/duration.js";

/** How to take a lease. */
export interface AcquireOptions {
  /** Milliseconds, 100 to 3,600,000; 10,000 unless told otherwise. */
  ttl?: number;
  /** Milliseconds to queue, 0 to 3,600,000; 0 unless told otherwise. */
  wait?: number;
  /** Of the entity that this event carries, 0 to 2^53 - 1. */
  version?: number | undefined;
  /** Wait until the entity has been completed up to this version. */
  afterVersion?: number | undefined;
  /** Be granted even if a newer version has been completed. */
  allowStale?: boolean;
  /** Refuse an event that was completed on this resource before. */
  eventId?: string;
  /** Milliseconds that eventId is remembered; a day unless told otherwise. */
  eventRetention?: number;
  /** The same id gives the same lease again while it lives; a random one unless told otherwise. */
  requestId?: string;
  /** Ends the wait, and leaves the queue. */
  signal?: AbortSignal;
}

/** How to hold a lease. */
export interface LockOptions extends AcquireOptions {
  /** Milliseconds, 0 to 3,600,000, that the resource is kept for the retry of the same event after an error. */
  retryHold?: number;
}

/** How to claim an event key. */
export interface DedupeOptions {
  /** Milliseconds, 100 to 3,600,000; without it the key is remembered at once. */
  claimTtl?: number;
  /** Milliseconds that the key is remembered after it was settled; a day unless told otherwise. */
  retention?: number;
  /** Hash of the payload, up to 64 bytes. */
  fingerprint?: Uint8Array;
  /** Milliseconds to wait while another has claimed it. */
  wait?: number;
  requestId?: string;
  signal?: AbortSignal;
}

/** How to reach the service. */
export interface ClientOptions {
  /** HOST:PORT, or `dns:///HOST:PORT` for several replicas; LOCKSERVICE_ADDR, else 127.0.0.1:50051. */
  address?: string;
  /** Who holds leases, for people and tools; host and process id unless told otherwise. */
  owner?: string;
  /** Bearer token; LOCKSERVICE_TOKEN unless told otherwise. */
  token?: string;
  /** PEM files; ca or cert turns TLS on. */
  ca?: string;
  cert?: string;
  key?: string;
  /** Send a token in the clear beyond loopback. */
  insecure?: boolean;
  /** Milliseconds during which an unavailable service is asked again; 10,000. For a call that waits, at least its wait. */
  retryFor?: number;
  /** Make each call a gRPC call of its own. */
  unary?: boolean;
  /** Milliseconds after which a session goes on on another stream; 300,000. */
  streamAge?: number;
}

/** Writes milliseconds as a Duration, to the microsecond. */
export function toDuration(milliseconds: number | undefined): Duration | undefined {
  if (milliseconds === undefined) return undefined;
  const micros = Math.round(milliseconds * 1000);
  const seconds = Math.trunc(micros / 1e6);
  return { seconds, nanos: (micros - seconds * 1e6) * 1000 };
}

/** Reads a Duration as milliseconds. */
export function fromDuration(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + duration.nanos / 1e6 : 0;
}
