-- Extends a lease that is still held.
-- Flags: allow-oom
-- Needs: bucket lease
-- Checks: seeded
-- ARGV name   the resource, encoded
-- ARGV lease  the lease id
-- ARGV ttl    ms from now, or '' for the one it was granted with
-- Returns renewed TTL | not_held

local state = load(name)
if state.lease == lease and tonumber(state['until']) > now_ms then
  local ttl_ms = ttl ~= '' and ttl or state.ttl
  last_until(name, state, now_ms + ttl_ms)
  save(name, state)
  return {'renewed', ttl_ms}
end
-- Include: queue
advance_and_save(name, state)
return {'not_held'}
