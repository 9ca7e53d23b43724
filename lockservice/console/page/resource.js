// One resource, looked at again with every picture, and the button that takes its lease away.
import {foreign, make, number, span} from '/console/drawing.js';
import {post} from '/console/feed.js';
import {drawWaiters} from '/console/tables.js';

const byId = (id) => document.getElementById(id);

export class Resource {
  // say(text) tells it to those who hear the page.
  constructor(say) {
    this.section = byId('resource');
    this.dialog = byId('confirm');
    this.say = say;
    this.name = null;
    this.operator = false;
    this.asking = false;
    this.meant = null;
    this.section.append(...this.frame());
    byId('confirm-cancel').addEventListener('click', () => this.dialog.close());
    byId('confirm-form').addEventListener('submit', (event) => this.force(event));
  }

  frame() {
    this.title = make('h2', {id: 'resource-title', tabindex: '-1'});
    this.close = make('button', {type: 'button', class: 'plain'}, 'Close');
    this.close.addEventListener('click', () => this.hide());
    this.facts = make('dl', {class: 'facts'});
    this.problem = make('p', {class: 'problem'});
    this.waiters = make('ol', {class: 'waiters', 'aria-label': 'Who waits, in the order of their turn'});
    this.more = make('p', {class: 'quiet'});
    this.button = make('button', {type: 'button', class: 'danger', hidden: ''}, 'Force release…');
    this.button.addEventListener('click', () => this.confirm());
    return [make('div', {class: 'heading'}, this.title, this.close), this.problem, this.facts, this.waiters, this.more, this.button];
  }

  // Shows a resource and moves there.
  async show(name) {
    this.name = name;
    this.title.replaceChildren(foreign(name));
    this.facts.replaceChildren();
    this.waiters.replaceChildren();
    // Until its lease has been seen there is none to take away, least of all that of the resource before.
    this.button.hidden = true;
    this.section.hidden = false;
    this.title.focus();
    await this.refresh();
  }

  hide() {
    this.name = null;
    this.section.hidden = true;
    byId('wanted').focus();
  }

  async refresh() {
    if (this.name === null || this.asking) return;
    const name = this.name;
    this.asking = true;
    try {
      const seen = await post('/console/resource', {resource: name});
      if (this.name === name) this.draw(seen);
    } catch (error) {
      if (this.name === name) this.problem.textContent = error.message;
    } finally {
      this.asking = false;
    }
    if (this.name !== null && this.name !== name) await this.refresh();
  }

  draw(seen) {
    this.problem.textContent = '';
    const {hold} = seen;
    const state = seen.owner === null ? (hold ? 'kept for a retry' : 'free') : 'held';
    const facts = [['State', state], ['Shard', seen.shard], ['Completed version', seen.completed ?? 'none']];
    if (seen.owner !== null) {
      facts.splice(1, 0, ['Holder', foreign(seen.owner)], ['Held for', span(seen.held_ms)]);
      facts.push(['Ends in', span(seen.remaining_ms)], ['Fencing token', String(seen.token)]);
    }
    if (hold) {
      facts.push(['Kept for event', foreign(hold.event_id || 'nobody’s')], ['Kept by', foreign(hold.owner)]);
      facts.push(['Kept for another', span(hold.remaining_ms)]);
    }
    facts.push(['Waiting', number(seen.queue_length)]);
    this.facts.replaceChildren(...facts.map(([term, fact]) => make('div', {}, make('dt', {}, term), make('dd', {}, fact))));
    drawWaiters(this.waiters, seen.waiters);
    const more = seen.queue_length - seen.waiters.length;
    this.more.textContent = more > 0 ? `and ${number(more)} more` : '';
    this.button.hidden = !this.operator || seen.owner === null;
    this.seen = seen;
  }

  confirm() {
    // The lease that is seen now, whoever has the resource once the reason has been written.
    this.meant = {resource: this.seen.resource, token: this.seen.token};
    byId('confirm-resource').replaceChildren(foreign(this.seen.resource));
    byId('confirm-owner').replaceChildren(foreign(this.seen.owner));
    byId('confirm-token').textContent = String(this.seen.token);
    byId('confirm-problem').textContent = '';
    byId('reason').value = '';
    this.dialog.showModal();
    byId('reason').focus();
  }

  async force(event) {
    event.preventDefault();
    const reason = byId('reason').value.trim();
    if (!reason) {
      byId('confirm-problem').textContent = 'Say why, for those who read the audit log.';
      return;
    }
    try {
      const {released} = await post('/console/force-release', {...this.meant, reason});
      this.dialog.close();
      this.title.focus();
      this.say(released ? 'The lease was taken away.' : 'That lease had already ended: nothing was changed.');
      await this.refresh();
    } catch (error) {
      byId('confirm-problem').textContent = error.message;
    }
  }
}
