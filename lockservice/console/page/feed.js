// Talks to the service: reads the feed of pictures for as long as the page is seen, and asks for single things.

const OWN_HEADER = 'X-Lockservice-Console';
const TOKEN = 'lockservice-token';
const AGAIN_MS_MIN = 500;
const AGAIN_MS_MAX = 8000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

function headers(more = {}) {
  const own = {[OWN_HEADER]: '1', ...more};
  return token.get() ? {...own, Authorization: `Bearer ${token.get()}`} : own;
}

// A request was refused; status is that of HTTP.
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    return new Refusal(JSON.parse(text).problem, answer.status);
  } catch {
    return new Refusal(text.trim() || answer.statusText, answer.status);
  }
}

export async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: headers({'Content-Type': 'application/json'}),
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const found = /^event: (\w+)\ndata: (.*)$/s.exec(block);
      if (found) yield {kind: found[1], data: JSON.parse(found[2])};
    }
  }
}

// Reads the feed, and begins again when it ends. EventSource cannot send a token, so this is fetch.
export class Feed {
  // on: {hello(data), picture(data), lost(message), refused(refusal)}
  constructor(on) {
    this.on = on;
    this.stopping = null;
    this.pause_ms = AGAIN_MS_MIN;
    this.timer = 0;
    document.addEventListener('visibilitychange', () => (document.hidden ? this.stop() : this.start()));
  }

  start() {
    this.stop();
    if (!document.hidden) this.read(new AbortController());
  }

  stop() {
    clearTimeout(this.timer);
    this.stopping?.abort();
    this.stopping = null;
  }

  async read(stopping) {
    this.stopping = stopping;
    try {
      const answer = await fetch('/console/feed', {headers: headers(), signal: stopping.signal});
      if (!answer.ok) throw await refusal(answer);
      for await (const {kind, data} of events(answer.body)) {
        this.pause_ms = AGAIN_MS_MIN;
        this.on[kind]?.(data);
      }
      throw new Error('the service ended the connection');
    } catch (error) {
      if (stopping.signal.aborted) return;
      if (error.status === 401 || error.status === 403) {
        this.on.refused(error);
        return;
      }
      this.on.lost(error.message);
      this.timer = setTimeout(() => this.start(), this.pause_ms);
      this.pause_ms = Math.min(2 * this.pause_ms, AGAIN_MS_MAX);
    }
  }
}
