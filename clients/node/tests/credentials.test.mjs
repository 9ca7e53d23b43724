// The client with a service that asks for credentials.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, NotAllowed } from "lockservice-client";
import { fresh, service } from "./stand.mjs";

for (const unary of [false, true])
  test(`S39 tenants, ${unary ? "unary" : "sessions"}`, async () => {
    const { address, ca, tokens } = await service({ tls: "server", tenants: ["shop", "bank"] });
    const at = (token) => new Client({ address, ca, token, unary, retryFor: 2_000 });
    const [shop, bank] = [at(tokens.shop), at(tokens.bank)];
    const resource = fresh();
    const [mine, theirs] = [await shop.lock(resource), await bank.lock(resource)];
    assert.equal((await shop.acquire(resource)).outcome, "held");
    await isRefused(shop, "stock:1", "RESOURCE_FORBIDDEN");
    for (const token of ["", "x".repeat(43)]) {
      const stranger = at(token);
      await isRefused(stranger, resource, "CREDENTIAL_MISSING");
      await stranger.close();
    }
    await mine.done();
    await theirs.done();
    await shop.close();
    await bank.close();
  });

async function isRefused(client, resource, reason) {
  await assert.rejects(client.acquire(resource), (error) => error instanceof NotAllowed && error.reason === reason);
}
