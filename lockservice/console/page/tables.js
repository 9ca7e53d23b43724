// The queues, what is held longest, and what has not ended well.
import {foreign, keep, make, number, opener, part, span, write} from '/console/drawing.js';

const WAITERS_SHOWN = 5;
const RECENT_SHOWN = 20;

const versions = ({version, after_version: after}) =>
  [version === null ? '' : `version ${version}`, after === null ? '' : `after version ${after}`]
    .filter(Boolean)
    .join(', ');

// Writes waiters into an ordered list.
export function drawWaiters(list, waiters) {
  keep(list, waiters.map((waiter, place) => ({...waiter, place})), {
    key: (waiter) => `${waiter.place} ${waiter.owner}`,
    create: (waiter) =>
      make(
        'li',
        {},
        make('span', {class: 'place', 'aria-hidden': 'true'}, String(waiter.place + 1)),
        make('span', {class: 'who'}, foreign(waiter.owner), make('small', {class: 'quiet', 'data-part': 'version'})),
        make('span', {class: 'figures', 'data-part': 'waiting'}),
      ),
    fill: (item, waiter) => {
      write(part(item, 'waiting'), span(waiter.waiting_ms));
      write(part(item, 'version'), versions(waiter));
    },
  });
}

function holderOf(resource) {
  if (resource.owner !== null) return ['held by ', foreign(resource.owner), ` for ${span(resource.held_ms)}`];
  if (resource.hold) return ['kept for the retry of ', foreign(resource.hold.event_id || 'nobody')];
  return ['free'];
}

export function drawQueues(list, busiest) {
  keep(list, busiest, {
    key: (resource) => resource.resource,
    create: (resource) =>
      make(
        'li',
        {class: 'panel queue'},
        make('h3', {}, opener(resource.resource), make('span', {class: 'count', 'data-part': 'count'})),
        make('p', {class: 'quiet', 'data-part': 'holder'}),
        make('ol', {class: 'waiters'}),
        make('p', {class: 'quiet', 'data-part': 'more'}),
      ),
    fill: (card, resource) => {
      write(part(card, 'count'), `${number(resource.queue_length)} ${resource.queue_length === 1 ? 'waits' : 'wait'}`);
      part(card, 'holder').replaceChildren(...holderOf(resource));
      const shown = resource.waiters.slice(0, WAITERS_SHOWN);
      drawWaiters(card.querySelector('ol'), shown);
      const more = resource.queue_length - shown.length;
      write(part(card, 'more'), more > 0 ? `and ${number(more)} more` : '');
    },
  });
  document.getElementById('no-queues').hidden = busiest.length > 0;
}

export function drawLongest(table, longest) {
  keep(table.tBodies[0], longest, {
    key: (resource) => resource.resource,
    create: (resource) =>
      make(
        'tr',
        {},
        make('th', {scope: 'row'}, opener(resource.resource), make('small', {class: 'quiet', 'data-part': 'owner'})),
        make('td', {class: 'number', 'data-part': 'held'}),
        make('td', {class: 'number aside', 'data-part': 'ends'}),
        make('td', {class: 'number aside', 'data-part': 'shard'}),
      ),
    fill: (row, resource) => {
      const owner = resource.owner ?? '';
      const hold = resource.hold;
      const told = hold ? `kept for a retry, asked for by ${hold.owner}` : owner;
      part(row, 'owner').replaceChildren(foreign(told));
      write(part(row, 'held'), hold && resource.held_ms === null ? 'kept' : span(resource.held_ms));
      write(part(row, 'ends'), span(resource.remaining_ms ?? hold?.remaining_ms));
      write(part(row, 'shard'), resource.shard);
    },
  });
  table.hidden = longest.length === 0;
  document.getElementById('no-longest').hidden = longest.length > 0;
}

function details(event) {
  if (event.kind === 'refused') return [event.owner && foreign(event.owner), foreign(event.detail, 'words')];
  const held = event.held_ms === null ? '' : `after ${span(event.held_ms)}`;
  const by = event.kind === 'forced' && event.by ? make('span', {}, 'by ', foreign(event.by)) : '';
  return [make('span', {}, foreign(event.owner), ` ${held}`), by, event.reason && foreign(`“${event.reason}”`, 'words')];
}

export function drawRecent(table, picture) {
  const ended = picture.ended.map((event) => ({...event}));
  const refused = picture.refused.map((event) => ({...event, kind: 'refused'}));
  const events = [...ended, ...refused].sort((one, other) => other.at_ms - one.at_ms).slice(0, RECENT_SHOWN);
  keep(table.tBodies[0], events, {
    key: (event) => JSON.stringify([event.at_ms, event.kind, event.resource, event.token ?? event.detail]),
    create: (event) =>
      make(
        'tr',
        {},
        make('td', {}, make('span', {class: 'tag', 'data-kind': event.kind}, event.kind)),
        make(
          'td',
          {},
          event.resource ? opener(event.resource) : make('span', {class: 'quiet'}, 'no resource'),
          make('small', {class: 'quiet'}, ...details(event).filter(Boolean).flatMap((piece) => [piece, ' '])),
        ),
        make('td', {class: 'number', title: new Date(event.at_ms).toISOString(), 'data-part': 'when'}),
      ),
    fill: (row, event) => {
      const ago = Math.max(0, picture.at_ms - event.at_ms);
      write(part(row, 'when'), ago < 1000 ? 'now' : `${span(Math.floor(ago / 1000) * 1000).replace('.0', '')} ago`);
    },
  });
  table.hidden = events.length === 0;
  document.getElementById('no-recent').hidden = events.length > 0;
}
