-- Ends a lease, records what was done under it, and hands the resource to the next waiter.
-- Flags: allow-oom
-- Needs: bucket lease
-- Checks: seeded times
-- ARGV name   the resource, encoded
-- ARGV lease  the lease id
-- ARGV done   '1': the version and the event are recorded; '': nothing is
-- ARGV hold_ms  not done: keep the resource for the retry this long; 0: no
-- ARGV replica  the replica that asks: the next waiter hears of its grant by the answer if it waits there
-- Returns released HELD_MS EVENT_MS, HELD_MS being '' when an earlier release ended it, EVENT_MS for how long its event
--   is remembered or '' | not_held '' '', and either goes on with CALL LEASE TOKEN ENDED COMPLETED QUEUED when a call
--   that waits at this replica was granted the lease

local state = load(name)
local held = state.lease == lease and tonumber(state['until']) > now_ms
local version, event_id, completed_before = state.version, state.event_id or '', state.completed
local raised = done == '1' and version and tonumber(version) > tonumber(completed_before or -1)

-- Releases are remembered together, minute by minute, and so for one to two minutes.
local minute = math.floor(now_ms / RELEASED_MS)
local event_ms = done == '1' and event_id ~= '' and state.retention or ''

local function record_and_end()
  clear_hold(name, state)
  if raised then
    state.completed = version
  end
  if event_ms ~= '' then
    redis.call('SET', event_key(name, event_id), '1', 'PX', event_ms)
  end
  if tonumber(hold_ms) > 0 then
    state.hold_until, state.hold_event, state.hold_owner = whole(now_ms + hold_ms), event_id, state.owner
    redis.call('ZADD', bucket .. 'holds', state.hold_until, name)
  end
  local released = bucket .. 'released:' .. minute
  if redis.call('SADD', released, lease) == 1 and redis.call('SCARD', released) == 1 then
    redis.call('PEXPIRE', released, 2 * RELEASED_MS)
  end
  return end_lease(name, state, 'released')
end

if held and not waited_for(name) then
  local held_ms = record_and_end()
  save(name, state)
  return {'released', held_ms, event_ms}
end
-- Include: queue
told.replica = in_time and replica

local function answer(word, held_ms, remembered_ms)
  if not told.call then
    return {word, held_ms, remembered_ms}
  end
  return {word, held_ms, remembered_ms, told.call, state.lease, state.token, state.ended or '', state.completed or '',
    redis.call('EXISTS', bucket .. 'queue:' .. name)}
end

if not held then
  advance_and_save(name, state)
  local again = redis.call('SISMEMBER', bucket .. 'released:' .. minute, lease) == 1
    or redis.call('SISMEMBER', bucket .. 'released:' .. minute - 1, lease) == 1
  return answer(again and 'released' or 'not_held', '', '')
end
local held_ms = record_and_end()
if raised then
  tell_stale(name, state, completed_before)
end
if hold_active(state) then
  hand_off_to_retry(name, state)
else
  advance(name, state)
end
save(name, state)
return answer('released', held_ms, event_ms)
