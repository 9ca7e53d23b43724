-- Takes the lease of a resource, or a place in its queue. Repeated with the same waiter it confirms a hand-off, gives
-- the same lease again, keeps the place in the queue, or (wait_ms 0) leaves it.
-- Needs: bucket lease
-- Checks: seeded times clock
-- ARGV name         the resource, encoded
-- ARGV waiter       who asks: the hash of owner and request_id, or the lease id when there is no request_id
-- ARGV call         the name of this call
-- ARGV owner        text
-- ARGV lease        the lease id it shall have
-- ARGV print        hash of the fields that a repeated request must have again, or ''
-- ARGV ttl          ms
-- ARGV again        '1': this call has asked before, and was told to wait
-- ARGV wait_ms      ms that it may wait from now on; 0: answer at once
-- ARGV version      number or ''
-- ARGV after_version number or ''
-- ARGV allow_stale  '1' or ''
-- ARGV event_id     text or ''
-- ARGV retention    ms
-- ARGV waiters_max  number
-- Returns granted LEASE TOKEN ENDED COMPLETED HANDOFF_US QUEUED | held OWNER TOKEN REMAINING_MS COMPLETED | early COMPLETED
--   | duplicate COMPLETED | stale COMPLETED | waiting REMAINING_MS | reused | full | superseded
--   | hold_off REMAINING_MS

local state = load(name)
local who = {waiter = waiter, call = call, owner = owner, lease = lease, print = print, ttl = ttl, version = version,
  after_version = after_version, allow_stale = allow_stale, event_id = event_id, retention = retention}

local function take(queued)
  grant(name, state, who, now_ms + ttl)
  save(name, state)
  return {'granted', lease, state.token, state.ended or '', state.completed or '', '', queued}
end

-- The usual case: nobody holds it, nobody waits, nothing is to be waited for.
if not (state.lease or state.hold_until or is_early(state, after_version) or waited_for(name)) then
  if is_duplicate(name, who) then
    return {'duplicate', state.completed or ''}
  end
  if is_stale(state, who) then
    return {'stale', state.completed or ''}
  end
  if holding then
    return {'hold_off', holding}
  end
  return take(0)
end
-- Include: queue
local changed, more = advance(name, state)
local completed = state.completed or ''
local before = recall(name, waiter)
local holds = waiter_of(state) == waiter

-- A call that was frozen may look again long after its caller has asked anew, elsewhere, with the same request_id. The
-- lease and the place are the newer call's then, and this one must not give them back when it finds its caller gone.
local latest = holds and state.call or before and before.call
if again == '1' and latest and latest ~= call then
  if changed then
    save(name, state)
  end
  return {'superseded'}
end
if holds then
  if (state.print or '') ~= print then
    return {'reused'}
  end
  local handoff_us = state.pending and whole(now_us - tonumber(state.granted)) or ''
  -- Of two calls that were both given a lease nobody knows which one's caller has heard of it: neither gives it back.
  state.call = (state.pending or state.call == call) and call or nil
  state.pending = nil
  last_until(name, state, now_ms + ttl)
  save(name, state)
  return {'granted', state.lease, state.token, state.ended or '', completed, handoff_us,
    redis.call('EXISTS', bucket .. 'queue:' .. name)}
end
if changed then
  save(name, state)
end
if before and before.print ~= print then
  return {'reused'}
end

local function answer(...)
  if before then
    drop(name, waiter, before)
  end
  return {...}
end

if is_duplicate(name, who) then
  return answer('duplicate', completed)
end
if is_stale(state, who) then
  return answer('stale', completed)
end

local early = is_early(state, after_version)
local retry = hold_active(state) and event_id ~= '' and event_id == state.hold_event
if not (state.lease or more or early) and (retry or not hold_active(state)) then
  if holding then
    return {'hold_off', holding}
  end
  if before then
    drop(name, waiter, before)
  end
  return take(redis.call('EXISTS', bucket .. 'queue:' .. name))
end

local remaining_ms = whole((state['until'] or state.hold_until or now_ms + 3600000) - now_ms)
if tonumber(wait_ms) <= 0 then
  if early then
    return answer('early', completed)
  end
  if state.lease then
    return answer('held', state.owner, state.token, remaining_ms, completed)
  end
  return answer('held', '', '', '', completed)
end

if not before then
  local waiting = redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)
  if waiting >= tonumber(waiters_max) then
    return {'full'}
  end
end
who.ticket = before and before.ticket
if not before or (before.gone and tonumber(before.gone) < now_ms - PLACE_KEPT_MS) then
  if before then
    drop(name, waiter, before)
  end
  who.ticket = string.format('%016.0f', redis.call('INCR', bucket .. 'ticket'))
end
who.since = before and before.since or whole(now_ms)
who.deadline = whole(now_ms + wait_ms)
enqueue(name, waiter, who, early)
alive(call)
return {'waiting', remaining_ms}
