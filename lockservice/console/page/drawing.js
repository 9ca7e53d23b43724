// Makes elements out of text, never out of markup, and keeps those that are still right, so that focus stays.

const numbers = new Intl.NumberFormat('en');

export const number = (value) => numbers.format(value);

// A span of time for people, from milliseconds.
export function span(ms) {
  if (ms === null || ms === undefined) return '–';
  const s = ms / 1000;
  if (s < 1) return `${Math.max(0, Math.round(ms))} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function latency(ms) {
  if (ms === null || ms === undefined) return '–';
  return ms < 9.95 ? ms.toFixed(ms < 0.995 ? 2 : 1) : String(Math.round(ms));
}

// make('p', {class: 'quiet'}, 'text', child)
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Writes text only when it changes, so that a selection in it stays.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Characters that nobody sees, some of which turn the text around them: a name must not look like another.
const UNSEEN = /([\p{Cc}\p{Cf}\p{Zl}\p{Zp}])/u;

function pieces(text) {
  return text.split(UNSEEN).filter(Boolean).map((piece) => {
    if (!UNSEEN.test(piece)) return piece;
    const code = piece.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    return make('span', {class: 'unseen-mark'}, `U+${code}`);
  });
}

// Text of others: its direction ends with it, and what would not be seen is named.
export const foreign = (text, kind = 'name') => make('bdi', {class: kind}, ...pieces(text));

// The name of a resource, to be opened.
export const opener = (resource) =>
  make('button', {type: 'button', class: 'plain opener', 'data-resource': resource}, foreign(resource));

// Gives a parent one child for each item, in order. A child is made once for each key, and filled each time.
export function keep(parent, items, {key, create, fill}) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = old.get(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    old.delete(name);
    fill(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of old.values()) gone.remove();
}

// The parts of an element that fill() writes to, by the names that they were given.
export const part = (element, name) => element.querySelector(`[data-part="${name}"]`);
