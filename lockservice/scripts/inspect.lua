-- Shows a resource as it is now, without moving it on.
-- Flags: no-writes
-- Needs: bucket lease
-- Checks: seeded
-- ARGV name         the resource, encoded
-- ARGV waiters_max  number
-- Returns resource STATE QUEUED WAITER..., STATE being owner token remaining_ms completed hold_owner hold_event
--   hold_ms held_ms, QUEUED how many wait, and WAITER owner waiting_ms version after_version in the order of their turn

-- Include: queue
local state = load(name)
local answer = {'resource', show(state),
  redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)}
for _, kind in ipairs({'queue:', 'early:'}) do
  for _, member in ipairs(redis.call('ZRANGE', bucket .. kind .. name, 0, waiters_max - 1)) do
    local who = recall(name, string.sub(member, 18))
    if who and #answer < waiters_max + 3 then
      answer[#answer + 1] = {who.owner, whole(now_ms - who.since), who.version, who.after_version}
    end
  end
end
return answer
