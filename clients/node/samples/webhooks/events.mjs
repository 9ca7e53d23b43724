// A small storm of a shop's webhooks: every order is created, updated and paid, and every event is delivered two or three times.
import { createHmac, randomUUID } from "node:crypto";

export const SECRET = "hush";
const SHOP = "storm.myshopify.com";
// As large as a shop's ids are: JSON.parse would round them.
const FIRST_ID = 820_982_911_946_154_508n;
const BEGAN_US = 1_778_512_019_000_000;
const LIFE = [
  ["orders/create", "pending"],
  ["orders/updated", "authorized"],
  ["orders/paid", "paid"],
];
export const NEWEST = LIFE.at(-1)[1];

/** Signs a body as the shop does. */
export function sign(body) {
  return createHmac("sha256", SECRET).update(body).digest("base64");
}

/** Makes the deliveries of so many orders, in the order in which a bad network delivers them. */
export function storm(orders, random = Math.random) {
  const run = randomUUID();
  const deliveries = [];
  for (let order = 0; order < orders; order += 1)
    for (const [step, [topic, status]] of LIFE.entries()) {
      const gid = `gid://shopify/Order/${FIRST_ID + BigInt(order)}-${run}`;
      const body = JSON.stringify({
        admin_graphql_api_id: gid,
        created_at: "2026-05-11T15:06:59Z",
        financial_status: status,
      });
      // Three events of an order within a second, each some microseconds after the one before.
      const us = BEGAN_US + order * 1_000_000 + step * 250_000;
      const headers = {
        "content-type": "application/json",
        "x-shopify-topic": topic,
        "x-shopify-shop-domain": SHOP,
        "x-shopify-webhook-id": `${run}-${order}-${step}`,
        "x-shopify-triggered-at": new Date(us / 1_000).toISOString(),
        "x-shopify-hmac-sha256": sign(body),
      };
      // All events of an order within the time in which the network mixes them up.
      for (let copy = 0; copy < 2 + (order % 2); copy += 1)
        deliveries.push({ at: order + 6 * random(), headers, body });
    }
  return deliveries.sort((one, other) => one.at - other.at);
}
