// What a worker reads out of a delivery. Ids have 19 digits: JSON.parse would round them, so numbers stay as written.
import { shopifyDelivery } from "lockservice-client";
import { parse } from "lossless-json";

export const CREATED = "orders/create";
const KEPT = new Set([
  ...["id", "name", "created_at", "updated_at", "cancelled_at", "financial_status", "fulfillment_status", "tags"],
  ...["total_price", "email", "order_number"],
]);

const orderGid = (id) => `gid://shopify/Order/${id}`;
const variantGid = (id) => `gid://shopify/ProductVariant/${id}`;

/** Returns what the books keep of a whole order. */
export function kept(body) {
  return Object.fromEntries(Object.entries(body).filter(([name]) => KEPT.has(name)));
}

/** Reads a delivery: topic, shop, gid, key, version, delta, bodyId, and what it changes. */
export function read(headers, text) {
  const named = JSON.parse(headers);
  const body = parse(text);
  const event = {
    topic: named["X-Shopify-Topic"],
    shop: named["X-Shopify-Shop-Domain"],
    added: 0,
    refunded: 0,
    pieces: [],
  };
  change(event, body);
  // An edit names its order otherwise than whole orders do.
  const about = JSON.stringify({ admin_graphql_api_id: event.gid });
  const { eventKey, version } = shopifyDelivery(named, about);
  return { ...event, key: eventKey, version };
}

function change(event, body) {
  if (event.topic === "orders/edited") {
    const edit = body.order_edit;
    Object.assign(event, { delta: true, bodyId: String(edit.id), gid: orderGid(edit.order_id) });
    event.added = edit.line_items.additions.reduce((sum, { delta }) => sum + Number(delta), 0);
  } else if (event.topic === "refunds/create") {
    Object.assign(event, { delta: true, bodyId: String(body.id), gid: orderGid(body.order_id) });
    for (const { subtotal, quantity, line_item: line } of body.refund_line_items) {
      event.refunded += Math.round(100 * Number(subtotal));
      event.pieces.push([variantGid(line.variant_id), Number(quantity)]);
    }
  } else {
    Object.assign(event, { delta: false, bodyId: String(body.id), gid: body.admin_graphql_api_id, order: kept(body) });
    if (event.topic === CREATED)
      event.pieces = body.line_items.map((line) => [variantGid(line.variant_id), -Number(line.quantity)]);
  }
}
