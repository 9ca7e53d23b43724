-- Ends a lease, records what was done under it, and hands the resource to the next waiter.
-- Flags: allow-oom
-- Needs: bucket resource
-- ARGV name   the resource, encoded
-- ARGV lease  the lease id
-- ARGV done   '1': the version and the event are recorded; '': nothing is
-- ARGV hold_ms  not done: keep the resource for the retry this long; 0: no
-- Returns released HELD_MS, HELD_MS being '' when an earlier release ended it | not_held

local state = load(name)
if state.lease ~= lease or tonumber(state['until']) <= now_ms then
  advance_and_save(name, state)
  if redis.call('EXISTS', bucket .. 'released:' .. lease) == 1 then
    return {'released', ''}
  end
  return {'not_held'}
end

local owner, version, event_id, retention = state.owner, state.version, state.event_id, state.retention
local completed_before = state.completed
local raised = done == '1' and version and version ~= '' and tonumber(version) > tonumber(state.completed or -1)

clear_hold(name, state)
if raised then
  state.completed = version
end
if done == '1' and event_id and event_id ~= '' then
  redis.call('SET', event_key(name, event_id), '1', 'PX', retention)
end
if tonumber(hold_ms) > 0 then
  state.hold_until, state.hold_event, state.hold_owner = whole(now_ms + hold_ms), event_id or '', owner
  redis.call('ZADD', bucket .. 'holds', state.hold_until, name)
end
local held_ms = end_lease(name, state, 'released')
redis.call('SET', bucket .. 'released:' .. lease, '1', 'PX', RELEASED_MS)

if raised then
  tell_stale(name, state, completed_before)
end
if hold_active(state) then
  hand_off_to_retry(name, state)
else
  advance(name, state)
end
save(name, state)
return {'released', held_ms}
