// The shards: health, how much they hold, and their latency over the last minutes.
import {keep, latency, make, number, part, svg, write} from '/console/drawing.js';

const WIDTH = 240;
const HEIGHT = 56;
// The lines are drawn on a logarithmic scale, on which 10 ms lies at two thirds of the height.
const LOWEST_MS = 0.1;
const HIGHEST_MS = 100;
const LIMIT_MS = 10;

function height(ms) {
  const within = Math.min(HIGHEST_MS, Math.max(LOWEST_MS, ms));
  const share = Math.log(within / LOWEST_MS) / Math.log(HIGHEST_MS / LOWEST_MS);
  return Number((HEIGHT - 2 - share * (HEIGHT - 4)).toFixed(1));
}

// Draws what there is; where nothing was measured there is a gap, and a single value is a dot.
function path(slices, column) {
  const step = WIDTH / Math.max(1, slices.length - 1);
  let drawn = '';
  let drawing = false;
  slices.forEach((slice, index) => {
    const ms = slice[column];
    if (ms !== null) drawn += `${drawing ? 'L' : 'M'}${(index * step).toFixed(1)} ${height(ms)}${drawing ? '' : 'h.1'}`;
    drawing = ms !== null;
  });
  return drawn;
}

function spark() {
  const limit = height(LIMIT_MS);
  return svg(
    'svg',
    {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', class: 'spark', preserveAspectRatio: 'none'},
    svg('rect', {class: 'above', x: 0, y: 0, width: WIDTH, height: limit}),
    svg('line', {class: 'base', x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5}),
    svg('line', {class: 'limit', x1: 0, x2: WIDTH, y1: limit, y2: limit}),
    svg('path', {class: 'p50', 'data-part': 'p50'}),
    svg('path', {class: 'p99', 'data-part': 'p99'}),
  );
}

function create() {
  const value = (name, label, unit = '') =>
    make('div', {}, make('dt', {}, label), make('dd', {}, make('span', {'data-part': name}), unit));
  return make(
    'li',
    {class: 'panel shard'},
    make('h3', {}, make('bdi', {'data-part': 'name'}), ' ', make('span', {class: 'health', 'data-part': 'health'})),
    make('p', {class: 'quiet address', 'data-part': 'address'}),
    make('div', {class: 'graph'}, spark(), make('span', {class: 'limit-label', 'aria-hidden': 'true'}, '10 ms')),
    make('dl', {}, value('now50', 'p50', ' ms'), value('now99', 'p99', ' ms'), value('rate', 'calls/s')),
    make(
      'div',
      {class: 'share'},
      make('span', {class: 'bar', 'aria-hidden': 'true'}, make('span', {'data-part': 'bar'})),
      make('span', {'data-part': 'share'}),
    ),
  );
}

// What was measured last, if that is not older than so many slices: half a minute.
const NOW_SLICES = 6;

const last = (slices, column) =>
  slices.slice(-NOW_SLICES).reduce((found, slice) => slice[column] ?? found, null);

// The latency of a shard now.
export const p99 = (slices) => last(slices, 1);

export const rate = (slices) => (slices.length ? slices[slices.length - 1][2] / 5 : 0);

function fill(card, {shard, slices, total}) {
  const up = !shard.problem;
  const slow = p99(slices) > LIMIT_MS;
  card.dataset.health = up ? (slow ? 'slow' : 'up') : 'down';
  write(part(card, 'name'), shard.name);
  write(part(card, 'health'), up ? (slow ? 'slow' : 'up') : 'down');
  write(part(card, 'address'), up ? `${shard.address} · ${shard.durability}, ${shard.exclusion}` : shard.problem);
  part(card, 'p50').setAttribute('d', path(slices, 0));
  part(card, 'p99').setAttribute('d', path(slices, 1));
  write(part(card, 'now50'), latency(last(slices, 0)));
  write(part(card, 'now99'), latency(p99(slices)));
  write(part(card, 'rate'), number(Math.round(rate(slices))));
  const peak = Math.max(0, ...slices.map((slice) => slice[1] ?? 0));
  const told = `Latency over five minutes: p99 now ${latency(p99(slices))} ms, at most ${latency(peak)} ms`;
  card.querySelector('.spark').setAttribute('aria-label', peak ? told : 'Latency over five minutes: no calls');
  const counted = shard.locks !== null;
  card.querySelector('.share').hidden = !counted;
  if (!counted) return;
  const share = total ? shard.locks / total : 0;
  part(card, 'bar').style.width = `${(100 * share).toFixed(1)}%`;
  write(part(card, 'share'), `${number(shard.locks)} leases, ${(100 * share).toFixed(total > 999 ? 1 : 0)} %`);
}

export function drawShards(list, picture) {
  const total = picture.shards.reduce((sum, shard) => sum + (shard.locks ?? 0), 0);
  const items = picture.shards.map((shard) => ({shard, total, slices: picture.trends[shard.name] ?? []}));
  keep(list, items, {key: (item) => item.shard.name, create, fill});
}
