// How the service is reached: addresses, credentials, and calls that are repeated when that is safe.
import { readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ChannelCredentials,
  type ChannelOptions,
  credentials,
  type ServiceError as GrpcError,
  Metadata,
} from "@grpc/grpc-js";
import { callError, closedError, NoSessions, Unavailable } from "./errors.js";
import { LockServiceClient } from "./generated/lockservice/v1/lockservice.js";
import { type ClientOptions, toDuration } from "./options.js";
import { type Kind, MAY_WAIT } from "./pending.js";
import { pauses, SERVICE_CONFIG } from "./retry.js";
import { Session } from "./session.js";

export const DEFAULT_ADDRESS = "127.0.0.1:50051";
// A waiting call is answered when its wait is over; this is for the way.
const WAIT_MARGIN_MS = 5_000;
// No good request is as large, and one that gRPC refuses for its size must not take the stream along.
const OPERATION_BYTES_MAX = 65_536;
export const CHANNEL_OPTIONS: ChannelOptions = {
  // Two channels to one address share a connection unless told not to.
  "grpc.use_local_subchannel_pool": 1,
  // The results of all operations of a session may come in one message, each with up to 4 KiB.
  "grpc.max_receive_message_length": 64 << 20,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // gRPC's own pauses between connections grow to 2 min: a lease would run out beside a service that is back.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.service_config": SERVICE_CONFIG,
  // Calls are repeated here, by the policy in it.
  "grpc.enable_retries": 0,
};

/** An address and the credentials for it. Throws TypeError when a token would be sent in the clear. */
export class Target {
  readonly address: string;
  readonly metadata = new Metadata();
  private readonly credentials: ChannelCredentials;

  constructor({ address, token, ca, cert, key, insecure }: ClientOptions) {
    this.address = address || process.env.LOCKSERVICE_ADDR || DEFAULT_ADDRESS;
    const secret = token ?? process.env.LOCKSERVICE_TOKEN;
    const tls = ca !== undefined || cert !== undefined;
    if (secret && !tls && !insecure && !isLoopback(this.address))
      throw new TypeError(
        `the token would cross the network to ${this.address} in the clear: use TLS, or insecure: true`,
      );
    if (secret) this.metadata.set("authorization", `Bearer ${secret}`);
    const read = (path: string | undefined) => (path === undefined ? null : readFileSync(path));
    this.credentials = tls ? credentials.createSsl(read(ca), read(key), read(cert)) : credentials.createInsecure();
  }

  /** Makes a channel with a connection of its own, which is opened for its first call. */
  open(): LockServiceClient {
    return new LockServiceClient(this.address, this.credentials, CHANNEL_OPTIONS);
  }
}

function isLoopback(address: string): boolean {
  if (address.startsWith("unix:")) return true;
  const host = address
    .replace(/^dns:\/{0,3}/, "")
    .replace(/:\d+$/, "")
    .replace(/^\[|\]$/g, "");
  return host === "localhost" || (isIPv4(host) && host.startsWith("127.")) || (isIPv6(host) && host === "::1");
}

/** How a call is made. Times are in milliseconds. */
export interface How {
  /** For one attempt, beside its wait. */
  timeout: number;
  /** During which an unavailable service is asked again. */
  retryFor: number;
  /** That the request waits at the service. */
  wait?: number;
  /** Whether a grant that comes when the caller has gone is given back. */
  givesBack?: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * The calls of a client, which travel in a session where the service has them. A call that is unavailable, or whose
 * answer was lost, is repeated as it is: its ids make that safe. Nothing else is ever repeated.
 */
export class Calls {
  private readonly stub: LockServiceClient;
  // For what keeps or ends a lease without a session: calls that wait count as streams of their connection, and a proxy
  // or a server that allows few would keep the releases back that they wait for.
  private readonly apart: LockServiceClient;
  private session: Session | undefined;
  private closed = false;

  constructor(
    private readonly target: Target,
    { unary, streamAge }: { unary: boolean; streamAge: number },
  ) {
    this.stub = target.open();
    this.apart = target.open();
    const start = () => this.stub.session(target.metadata);
    this.session = unary ? undefined : new Session(start, target.address, streamAge);
  }

  /** Returns the response, and when the request that it answers left, on performance.now(). */
  // biome-ignore lint/suspicious/noExplicitAny: each kind has messages of its own
  async call(kind: Kind, request: any, how: How): Promise<{ response: any; sentAt: number }> {
    const { timeout, retryFor, wait = 0, givesBack = false, signal } = how;
    const began = performance.now();
    let sentAt = began;
    let left = wait;
    const pausing = pauses();
    for (;;) {
      signal?.throwIfAborted();
      const limit = left + (wait ? WAIT_MARGIN_MS : timeout);
      const size = sizeOf(request);
      const session = size > OPERATION_BYTES_MAX ? undefined : this.session;
      let fault: Unavailable;
      try {
        const response = session
          ? await session.call({ kind, request, size, limit, givesBack, signal })
          : await this.unary(kind, request, limit, signal);
        if (signal?.aborted) {
          // The answer came in the turn of the cancellation.
          session?.giveBack({ kind, request, givesBack }, response);
          throw signal.reason;
        }
        return { response, sentAt };
      } catch (error) {
        if (error instanceof NoSessions) {
          this.session = undefined;
          continue;
        }
        if (!(error instanceof Unavailable)) throw error;
        fault = error;
      }
      const delay = Math.max(pausing.next().value, fault.retryAfter ?? 0);
      if (performance.now() + delay > began + Math.max(retryFor, wait)) throw fault;
      await sleep(delay, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
      sentAt = performance.now();
      if (wait) {
        left = Math.max(0, began + wait - sentAt);
        request = { ...request, waitTimeout: toDuration(left) };
      }
    }
  }

  /** Closes the connections, once what is on its way in the session is through, or a second later. */
  async close(): Promise<void> {
    this.closed = true;
    await this.session?.close();
    this.stub.close();
    this.apart.close();
  }

  private unary(kind: Kind, request: unknown, limit: number, signal: AbortSignal | undefined): Promise<unknown> {
    if (this.closed) return Promise.reject(closedError());
    const stub = MAY_WAIT.has(kind) ? this.stub : this.apart;
    return new Promise((resolve, reject) => {
      const leave = () => {
        call.cancel();
        reject(signal?.reason);
      };
      const answered = (error: GrpcError | null, response: unknown) => {
        signal?.removeEventListener("abort", leave);
        if (error) reject(callError(error, this.target.address));
        else resolve(response);
      };
      const options = { deadline: Date.now() + limit };
      // biome-ignore lint/suspicious/noExplicitAny: each kind has messages of its own
      const call = (stub as any)[kind](request, this.target.metadata, options, answered);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}

/** Says how many bytes a message has at most, without writing it. */
function sizeOf(request: Record<string, unknown>): number {
  let size = 256;
  for (const value of Object.values(request)) {
    if (typeof value === "string") size += value.length > 512 ? Buffer.byteLength(value) : value.length * 3;
    else if (value instanceof Uint8Array) size += value.length;
  }
  return size;
}
