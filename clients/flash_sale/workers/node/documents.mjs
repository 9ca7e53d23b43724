// How an event changes a document. Pure: nothing here knows of locks or of Redis. Numbers of a document's own are numbers.
import { parse, stringify } from "lossless-json";

const ON_HAND = 100_000;
const PAID = new Set(["paid", "partially_refunded", "refunded"]);

export function newOrder(gid, number) {
  return { gid, number, version: 0, states: [], order: {}, added: 0, refunded: 0, applied: [] };
}

/** Reads a document of an order; what is in `order` stays as the shop has written it. */
export function readOrder(text) {
  const document = parse(text);
  for (const field of ["number", "version", "added", "refunded"]) document[field] = Number(document[field]);
  return document;
}

export const write = (document) => stringify(document);

export function has(document, event) {
  return document.applied.includes(event.key) || (!event.delta && event.version < document.version);
}

/** Says whether there is another whole order of the same instant: nobody can tell which is newer. */
export function isTie(document, event) {
  return !event.delta && event.version === document.version;
}

/** Changes a document as an event says; fresh, if any, is the order as the shop answers when it is asked. */
export function apply(document, event, fresh) {
  document.applied.push(event.key);
  if (event.delta) {
    document.added += event.added;
    document.refunded += event.refunded;
    return;
  }
  document.order = fresh ?? event.order;
  document.version = event.version;
  const gone = states(document.order);
  const history = document.states;
  if (history.every((state, index) => gone[index] === state)) document.states = gone;
  else if (history.at(-1) !== gone.at(-1)) history.push(gone.at(-1));
}

/** Lists what an order has gone through when it looks like this. */
function states(order) {
  const gone = ["created"];
  if (PAID.has(order.financial_status)) gone.push("paid");
  if (order.fulfillment_status === "fulfilled") gone.push("fulfilled");
  if (order.cancelled_at) gone.push("cancelled");
  return gone;
}

export function readStock(text) {
  return text === null ? { on_hand: ON_HAND, moves: ";" } : JSON.parse(text);
}

/** Moves pieces in or out of stock under a name, and says whether that was new. */
export function move(stock, name, count) {
  if (stock.moves.includes(`;${name}:`)) return false;
  stock.on_hand += count;
  stock.moves += `${name}:${count};`;
  return true;
}
