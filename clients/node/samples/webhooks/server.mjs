// The HTTP server of both stacks: checks the signature over the raw body, hands the event on, answers.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { SECRET } from "./events.mjs";

function isSigned(body, signature) {
  const expected = createHmac("sha256", SECRET).update(body).digest();
  const given = Buffer.from(String(signature ?? ""), "base64");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Serves webhooks, each of which receive takes in; returns the server once it listens. */
export async function serve(receive) {
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    if (!isSigned(body, request.headers["x-shopify-hmac-sha256"])) {
      response.writeHead(401).end();
      return;
    }
    try {
      await receive(request.headers, body.toString());
      response.writeHead(200).end();
    } catch {
      // Anything but 2xx has the shop send it again.
      response.writeHead(503).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
