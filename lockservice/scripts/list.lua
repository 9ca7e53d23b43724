-- Shows the resources of one bucket that are held, or kept for a retry, and whose encoded name begins with the prefix.
-- Flags: no-writes
-- Needs: bucket lease queue
-- ARGV prefix     text
-- ARGV locks_max  number
-- Returns locks LOCK..., LOCK being NAME STATE QUEUED as inspect.lua has them

local answer, seen = {'locks'}, {}
for _, kind in ipairs({'leases', 'holds'}) do
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', bucket .. kind, '(' .. whole(now_ms), '+inf')) do
    if string.sub(name, 1, #prefix) == prefix and not seen[name] and #answer <= tonumber(locks_max) then
      seen[name] = true
      answer[#answer + 1] = {name, show(load(name)),
        redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)}
    end
  end
end
return answer
