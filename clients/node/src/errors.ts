// What can go wrong, in two families that must not be mixed up. `Refused` is an answer: the event need not, must not or
// cannot be processed now. `ServiceError` is a fault: mend the request, or wait until the service is back.
import { status as Code, type ServiceError as GrpcError, type Metadata } from "@grpc/grpc-js";
import type { Any } from "./generated/google/protobuf/any.js";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";
import { fromDuration } from "./options.js";
import type { Acquired, Deduped, Holder } from "./values.js";

/** The lease or the claim was not given; the message says why. */
export class Refused extends Error {
  override name = "Refused";
}

/** Others hold the resource, or are queued for it: try later. */
export class Held extends Refused {
  override name = "Held";
  constructor(
    message: string,
    readonly holder?: Holder,
  ) {
    super(message);
  }
}

/** The event was completed before: acknowledge it and go on. `result` is what was left for later duplicates. */
export class Duplicate extends Refused {
  override name = "Duplicate";
  constructor(
    message: string,
    readonly result: Uint8Array = new Uint8Array(),
  ) {
    super(message);
  }
}

/** A newer version of the entity has been completed. */
export class Stale extends Refused {
  override name = "Stale";
}

/** The version that this event needs has not been completed yet: retry later. */
export class Early extends Refused {
  override name = "Early";
}

/** Another has claimed the event key; `retryAfter` milliseconds until the claim runs out. */
export class InProgress extends Refused {
  override name = "InProgress";
  constructor(
    message: string,
    readonly retryAfter: number,
  ) {
    super(message);
  }
}

/** The same event key came with another payload. */
export class Mismatch extends Refused {
  override name = "Mismatch";
}

/** The lease or claim ended before the work did: others may have gone on already. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
}

/** The service could not or would not do it. `code` is the gRPC status, `reason` that of google.rpc.ErrorInfo. */
export class ServiceError extends Error {
  override name = "ServiceError";
  constructor(
    message: string,
    readonly code: Code,
    readonly reason = "",
    /** Milliseconds after which a retry makes sense, if the service said so. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** A field is missing, too long or out of range; the message names it. */
export class InvalidRequest extends ServiceError {
  override name = "InvalidRequest";
}

/** The service, or the shard of this key, cannot be reached. Repeat with the same ids. */
export class Unavailable extends ServiceError {
  override name = "Unavailable";
}

/** The credentials are missing, wrong, or not good for this. */
export class NotAllowed extends ServiceError {
  override name = "NotAllowed";
}

/** The service is older than sessions, or a proxy before it passes none. The client calls without then. */
export class NoSessions extends ServiceError {
  override name = "NoSessions";
}

// What a stream ends in when it was cut by whoever stands between. Other codes are meant for the callers.
const CUT: ReadonlySet<Code> = new Set([
  Code.CANCELLED,
  Code.UNKNOWN,
  Code.INTERNAL,
  Code.DEADLINE_EXCEEDED,
  Code.ABORTED,
]);
const TLS_TO_PLAIN = /wrong version number|ssl3|SSL routines|EPROTO|packet length too long/i;
const CERTIFICATE = /certificate|self.signed|unable to verify|altname/i;
const PLAIN_TO_TLS =
  /ECONNRESET|socket hang up|Connection dropped|before secure|Protocol error|GOAWAY|closed|Failed to connect/i;

/** Translates the error in which a unary call or a stream ended. */
export function callError(error: GrpcError, address: string): ServiceError {
  return translate(error.code, error.details || error.message, detailsOf(error.metadata), address);
}

/** Translates the error of one operation of a session. */
export function operationError(status: Status, address: string): ServiceError {
  return translate(status.code, status.message, status.details, address);
}

/** Makes what an operation ends in that was open when its stream ended; undefined: with OK, or without a word. */
export function streamError(error: GrpcError | undefined, address: string): ServiceError {
  if (!error) return new Unavailable(`UNAVAILABLE: ${address} ended the stream`, Code.UNAVAILABLE);
  if (error.code === Code.UNIMPLEMENTED)
    return new NoSessions(`UNIMPLEMENTED: ${address} knows no sessions: ${error.details}`, error.code);
  if (CUT.has(error.code)) {
    const why = `UNAVAILABLE: ${address} cut the stream: ${Code[error.code]} ${error.details}`;
    return new Unavailable(why, Code.UNAVAILABLE);
  }
  return callError(error, address);
}

/** Makes what a call on a closed client ends in. */
export function closedError(): ServiceError {
  return new ServiceError("this client is closed", Code.CANCELLED);
}

/** Makes what an operation ends in whose time is over. */
export function lateError(): ServiceError {
  return new ServiceError("DEADLINE_EXCEEDED: Deadline exceeded", Code.DEADLINE_EXCEEDED);
}

/** Makes what a call ends in that a newer service has answered. */
export function unknownError(what: string): ServiceError {
  return new ServiceError(`UNKNOWN: the service is newer than this client: ${what}`, Code.UNKNOWN);
}

/** Turns the answer of an acquire that was not granted into its error. */
export function refusal(resource: string, answer: Acquired): Refused {
  switch (answer.outcome) {
    case "held":
      return new Held(`${resource} is held${answer.holder ? ` by ${answer.holder.owner}` : ""}`, answer.holder);
    case "duplicate":
      return new Duplicate(`the event was completed on ${resource} before`);
    case "stale":
      return new Stale(`${resource} has been completed up to version ${answer.completedVersion}`);
    default:
      return new Early(`${resource} has been completed only up to ${answer.completedVersion ?? "nothing"}`);
  }
}

/** Turns the answer of a dedupe that was not the first into its error. */
export function claimRefusal(key: string, answer: Deduped): Refused {
  switch (answer.outcome) {
    case "duplicate":
      return new Duplicate(`${key} was completed before`, answer.result);
    case "in_progress":
      return new InProgress(`${key} is being processed by another`, answer.retryAfter);
    default:
      return new Mismatch(`${key} came with another payload before`);
  }
}

function detailsOf(metadata: Metadata | undefined): Any[] {
  const [blob] = metadata?.get("grpc-status-details-bin") ?? [];
  return blob instanceof Buffer ? Status.decode(blob).details : [];
}

/** Makes the error, and names the cause where gRPC's own words hide it. */
function translate(code: Code, words: string, details: Any[], address: string): ServiceError {
  let reason = "";
  let retryAfter: number | undefined;
  let fields = "";
  for (const { typeUrl, value } of details) {
    if (typeUrl.endsWith("/google.rpc.ErrorInfo")) reason = ErrorInfo.decode(value).reason;
    else if (typeUrl.endsWith("/google.rpc.RetryInfo")) retryAfter = fromDuration(RetryInfo.decode(value).retryDelay);
    else if (typeUrl.endsWith("/google.rpc.BadRequest"))
      fields = BadRequest.decode(value)
        .fieldViolations.map((violation) => `${violation.field} ${violation.description}`)
        .join("; ");
  }
  let message = fields || words || Code[code];
  if (!reason && code === Code.UNAVAILABLE) message = cause(message, address);
  if (code === Code.UNAUTHENTICATED)
    message += " (give a valid token by LOCKSERVICE_TOKEN or token, or a client certificate)";
  const said = `${`${Code[code]} ${reason}`.trim()}: ${message}`;
  if (code === Code.INVALID_ARGUMENT) return new InvalidRequest(said, code, reason, retryAfter);
  if (code === Code.UNAVAILABLE) return new Unavailable(said, code, reason, retryAfter);
  if (code === Code.UNAUTHENTICATED || code === Code.PERMISSION_DENIED)
    return new NotAllowed(said, code, reason, retryAfter);
  return new ServiceError(said, code, reason, retryAfter);
}

function cause(words: string, address: string): string {
  if (CERTIFICATE.test(words)) return `${address} has a certificate that this client does not accept: ${words}`;
  if (TLS_TO_PLAIN.test(words))
    return `${address} does not speak TLS as this client does (plaintext server?): ${words}`;
  if (PLAIN_TO_TLS.test(words))
    return `${address} closed the connection: does it expect TLS, and this client speaks plaintext? ${words}`;
  return `${address} cannot be reached: ${words}`;
}
