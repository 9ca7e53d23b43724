// The stand as tests in Node use it: services that can be broken, and proxies before them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

let url = process.env.LOCKSERVICE_STAND;
// What was started anywhere in the file lives until the file's end.
const endings = [];
after(async () => {
  for (const end of endings.reverse()) await end();
});

async function start() {
  const python = process.env.LOCKSERVICE_PYTHON ?? "../../.venv/bin/python";
  const child = spawn(python, ["-m", "lockservice_stand", "serve"], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  endings.push(() => child.stdin.end());
  return line.replace("stand ", "");
}

async function ask(method, path, body = {}) {
  url ??= await start();
  const options = { method, headers: { "content-type": "application/json" } };
  if (method !== "GET") options.body = JSON.stringify(body);
  const response = await fetch(url + path, options);
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** Starts a service; it ends with the tests of the file. */
export async function service(options = {}) {
  const made = await ask("POST", "/services", options);
  endings.push(() => ask("DELETE", `/services/${made.id}`));
  return {
    ...made,
    address: made.addresses[0],
    act: (replica, action) => ask("POST", `/services/${made.id}/${replica}/${action}`),
  };
}

/** Starts a proxy before an address. */
export async function proxy(address) {
  const made = await ask("POST", "/proxies", { address });
  endings.push(() => ask("DELETE", `/proxies/${made.id}`));
  const path = `/proxies/${made.id}`;
  return {
    address: made.address,
    fault: (fault, method = "Acquire", times = 1) => ask("POST", `${path}/faults`, { fault, method, times }),
    letGo: () => ask("POST", `${path}/let_go`),
    seen: () => ask("GET", path),
    calls: async (method) => (await ask("GET", path)).calls.filter((call) => call.method === method),
  };
}

/** Passes connections on to an address, and counts them: all that there were, and those that are open. */
export async function relay(address) {
  const { hostname, port } = new URL(`http://${address}`);
  const seen = { connections: 0, open: 0 };
  const server = createServer((near) => {
    seen.connections += 1;
    seen.open += 1;
    const far = connect(port, hostname);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on("error", () => {});
    far.on("close", () => near.destroy());
    near.on("close", () => {
      seen.open -= 1;
      far.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endings.push(() => server.close());
  return { address: `127.0.0.1:${server.address().port}`, seen };
}

/** Starts somebody who is not lockservice, and returns the address. */
export async function stranger(kind) {
  return (await ask("POST", "/strangers", { kind })).address;
}

/** Returns once a condition is true; fails when it is not within so many milliseconds. */
export async function until(condition, what, within = 5_000) {
  const end = performance.now() + within;
  for (;;) {
    if (await condition()) return;
    assert.ok(performance.now() < end, `not within ${within} ms: ${what}`);
    await sleep(10);
  }
}

let count = 0;
/** Returns a name that no other test uses. */
export function fresh(kind = "order") {
  count += 1;
  return `${kind}:node-${process.pid}-${count}`;
}

/** Starts a Redis of its own, and returns its address. */
export async function store() {
  return (await ask("POST", "/stores")).address;
}
