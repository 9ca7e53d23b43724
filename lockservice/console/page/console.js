// Puts the page together: what the service tells goes to the parts that draw it.
import {keep, latency, make, number, part, write} from '/console/drawing.js';
import {Feed, token} from '/console/feed.js';
import {Resource} from '/console/resource.js';
import {drawShards, p99, rate} from '/console/shards.js';
import {drawLongest, drawQueues, drawRecent} from '/console/tables.js';

// Pictures come every 0.6 s.
const STALE_MS = 3000;
const byId = (id) => document.getElementById(id);
const page = {heardAt: 0, lost: '', signedOut: false, state: 'connecting'};

function say(text) {
  byId('announcement').textContent = text;
}

const resource = new Resource(say);

function setState(state, text) {
  byId('state').dataset.state = state;
  document.body.dataset.state = state;
  write(byId('state-text'), text);
  if (state === page.state) return;
  page.state = state;
  // The seconds are not told to those who hear the page, only that it begins and that it is over.
  say({live: 'Live', stale: 'Stale: the service does not answer', 'signed-out': 'Signed out'}[state] ?? '');
}

function judge() {
  if (page.signedOut) {
    setState('signed-out', 'Signed out');
    return;
  }
  if (!page.heardAt) {
    setState(page.lost ? 'stale' : 'connecting', page.lost ? 'No connection' : 'Connecting');
    return;
  }
  const since = performance.now() - page.heardAt;
  if (!page.lost && since < STALE_MS) {
    setState('live', 'Live');
    return;
  }
  setState('stale', `${page.lost ? 'Connection lost' : 'Stale'}: last update ${Math.round(since / 1000)} s ago`);
}

function drawSums(picture) {
  const total = (name) => picture.shards.reduce((sum, shard) => sum + (shard[name] ?? 0), 0);
  const trends = Object.values(picture.trends);
  const worst = Math.max(-1, ...trends.map((slices) => p99(slices) ?? -1));
  const calls = Math.round(trends.reduce((sum, slices) => sum + rate(slices), 0));
  const up = picture.shards.filter((shard) => !shard.problem).length;
  const sums = [
    ['shards up', `${up} of ${picture.shards.length}`],
    ['slowest p99', worst < 0 ? '–' : `${latency(worst)} ms`],
    ['script calls/s', number(calls)],
  ];
  if (picture.longest) {
    sums.unshift(['leases', number(total('locks'))], ['waiting', number(total('waiting'))], ['kept for a retry', number(picture.holds)]);
  }
  keep(byId('sums'), sums, {
    key: ([name]) => name,
    create: ([name]) => make('div', {}, make('dt', {}, name), make('dd', {'data-part': 'value'})),
    fill: (item, [, value]) => write(part(item, 'value'), value),
  });
}

function draw(picture) {
  page.heardAt = performance.now();
  page.lost = '';
  judge();
  byId('picture').hidden = false;
  keep(byId('problems'), picture.problems, {
    key: (problem) => problem,
    create: (problem) => make('li', {}, problem),
    fill: () => {},
  });
  byId('problems').hidden = picture.problems.length === 0;
  drawSums(picture);
  drawShards(byId('shards'), picture);
  byId('named').hidden = !picture.longest;
  if (picture.longest) {
    drawQueues(byId('queues'), picture.busiest);
    drawLongest(byId('longest'), picture.longest);
    drawRecent(byId('recent'), picture);
    resource.refresh();
  }
}

function greet(visitor) {
  page.signedOut = false;
  byId('sign-in').hidden = true;
  write(byId('version'), visitor.version);
  byId('find').hidden = !visitor.names;
  byId('reserved').hidden = visitor.names;
  byId('visitor').hidden = !visitor.name;
  const only = visitor.prefixes.length ? `, ${visitor.prefixes.map((prefix) => `${prefix}…`).join(' ')}` : '';
  const where = visitor.namespace ? ` in ${visitor.namespace}` : '';
  write(byId('visitor-text'), `${visitor.name}${where}${only}${visitor.operator ? ', operator' : ''}`);
  resource.operator = visitor.operator;
}

function signOut(problem) {
  page.signedOut = true;
  page.heardAt = 0;
  for (const id of ['picture', 'find', 'visitor']) byId(id).hidden = true;
  byId('sign-in').hidden = false;
  write(byId('sign-in-problem'), problem);
  judge();
  byId('token').focus();
}

const feed = new Feed({
  hello: greet,
  picture: draw,
  lost: (message) => {
    page.lost = message;
    judge();
  },
  refused: (refusal) => {
    const tried = token.get() !== '';
    token.forget();
    signOut(tried || refusal.status !== 401 ? refusal.message : '');
  },
});

byId('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set(byId('token').value.trim());
  byId('token').value = '';
  feed.start();
});
byId('sign-out').addEventListener('click', () => {
  token.forget();
  feed.stop();
  signOut('');
});
byId('find').addEventListener('submit', (event) => {
  event.preventDefault();
  resource.show(byId('wanted').value);
});
document.addEventListener('click', (event) => {
  const opener = event.target.closest('[data-resource]');
  if (opener) resource.show(opener.dataset.resource);
});
setInterval(judge, 500);
feed.start();
