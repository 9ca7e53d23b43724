// Reads out of a shop's webhook what a lock asks for: what it is about, which event it is, and its version.

/** A delivery, as far as the lock needs it. */
export interface Delivery {
  /** The same for every delivery of one event, and for no other event; for `eventId`, and for `once`. */
  readonly eventKey: string;
  /** The entity's global id, a string: its number has 19 digits, and JSON.parse would round it. */
  readonly resource: string;
  /** When the shop triggered it, in microseconds since 1970; undefined: the shop did not say. */
  readonly version: number | undefined;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const MOMENT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)$/i;

/**
 * Reads a Shopify webhook, whose signature has been checked.
 *
 * The event's key is its shop, topic and webhook id. Without a webhook id it is shop, topic, event id, resource and
 * moment: all events of one action of the merchant have the same event id.
 *
 * @param headers names in any case
 * @param body JSON, as it came
 * @throws TypeError: a header or a field is missing, or makes no sense; the message names it
 */
export function shopifyDelivery(headers: Headers, body: string | Uint8Array): Delivery {
  const named = new Map(Object.entries(headers).map(([name, text]) => [name.toLowerCase(), String(text ?? "")]));
  const shop = part(named, "X-Shopify-Shop-Domain");
  const topic = part(named, "X-Shopify-Topic");
  const moment = named.get("x-shopify-triggered-at") ?? "";
  const version = moment ? microseconds(moment) : undefined;
  const resource = resourceOf(body);
  if (named.get("x-shopify-webhook-id"))
    return { eventKey: `${shop}:${topic}:${part(named, "X-Shopify-Webhook-Id")}`, resource, version };
  if (!named.get("x-shopify-event-id"))
    throw new TypeError("neither X-Shopify-Webhook-Id nor X-Shopify-Event-Id is there");
  if (!moment) throw new TypeError("without X-Shopify-Webhook-Id, X-Shopify-Triggered-At is needed");
  const eventKey = `${shop}:${topic}:${part(named, "X-Shopify-Event-Id")}:${resource}:${moment}`;
  return { eventKey, resource, version };
}

function part(named: Map<string, string>, name: string): string {
  const text = named.get(name.toLowerCase()) ?? "";
  // With a colon inside, two deliveries could have one key.
  if (!text || text.includes(":")) throw new TypeError(`${name} is ${text ? "there with a colon" : "not there"}`);
  return text;
}

function resourceOf(body: string | Uint8Array): string {
  let fields: unknown;
  try {
    fields = JSON.parse(typeof body === "string" ? body : new TextDecoder().decode(body));
  } catch (error) {
    throw new TypeError(`the body is no JSON: ${error}`);
  }
  const resource = (fields as { admin_graphql_api_id?: unknown } | null)?.admin_graphql_api_id;
  if (typeof resource !== "string" || !resource)
    throw new TypeError("the body is no JSON object with admin_graphql_api_id");
  return resource;
}

function microseconds(text: string): number {
  const found = MOMENT.exec(text);
  const seconds = found ? Date.parse(`${found[1]}${found[3]}`) / 1000 : Number.NaN;
  if (!found || Number.isNaN(seconds)) throw new TypeError(`X-Shopify-Triggered-At is no moment with a zone: ${text}`);
  // What is finer than a microsecond is left off, never rounded up: a version must not be one that comes later.
  return seconds * 1_000_000 + Number((found[2] ?? "").padEnd(6, "0").slice(0, 6));
}
