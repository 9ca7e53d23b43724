// What operators see and do, by raw calls: the client is for workers.
import { Client, credentials } from "@grpc/grpc-js";

const SERVICE = "/lockservice.v1.LockAdminService/";

/** Writes a string or a number as a protobuf field. */
function field(number, value) {
  if (typeof value === "string") {
    const bytes = Buffer.from(value);
    return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
  }
  return Buffer.concat([varint(number << 3), varint(value)]);
}

function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function call(address, method, request) {
  const client = new Client(address, credentials.createInsecure());
  const same = (bytes) => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(SERVICE + method, same, same, request, (error, response) => {
      client.close();
      if (error) reject(error);
      else resolve(response);
    });
  });
}

/** Ends a grant by force. */
export function forceRelease(address, resource, fencingToken) {
  const request = Buffer.concat([field(1, resource), field(2, fencingToken), field(3, "a test")]);
  return call(address, "ForceRelease", request);
}

/** Counts who waits for a resource: the repeated field 2 of the answer. */
export async function queueLength(address, resource) {
  return messages(await call(address, "Inspect", field(1, resource)), 2).length;
}

/** Says whether somebody holds a resource: field 3 of the answer's field 1. */
export async function isHeld(address, resource) {
  const [lock] = messages(await call(address, "Inspect", field(1, resource)), 1);
  return messages(lock, 3).length > 0;
}

/** Lists the messages that are in a field of a message. */
function messages(bytes, wanted) {
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const key = bytes[at];
    let size = 0;
    let shift = 0;
    at += 1;
    do {
      size |= (bytes[at] & 127) << shift;
      shift += 7;
      at += 1;
    } while (bytes[at - 1] > 127);
    if ((key & 7) !== 2) continue;
    if (key >> 3 === wanted) found.push(bytes.subarray(at, at + size));
    at += size;
  }
  return found;
}
