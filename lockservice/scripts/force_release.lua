-- Takes a lease away from its holder, or ends the hold that followed it.
-- Flags: allow-oom
-- Needs: bucket lease
-- Checks: seeded
-- ARGV name    the resource, encoded
-- ARGV token   the grant that is meant, so that no later one is hit
-- ARGV by      who takes it away, for people
-- ARGV reason  why, for people
-- Returns forced HELD_MS, HELD_MS being '' when only a hold was ended | not_held

-- Include: queue
local state = load(name)
if state.token ~= token then
  return {'not_held'}
end
local owner, held_ms = state.owner or state.hold_owner, ''
if state.lease and tonumber(state['until']) > now_ms then
  held_ms = end_lease(name, state, 'forced')
elseif not hold_active(state) then
  return {'not_held'}
end
note_end(name, owner or '', token, held_ms, 'forced', by, reason, now_ms)
clear_hold(name, state)
advance(name, state)
save(name, state)
return {'forced', held_ms}
