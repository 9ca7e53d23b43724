-- Adds the events that a replica has let be remembered to those of a namespace, and sums up what is remembered now.
-- Needs: bucket
-- Checks: seeded
-- ARGV namespace  whose
-- ARGV slots      SECOND:COUNT with a space between: so many are remembered until that second
-- Returns counted EVENTS
--
--   ledger:NAMESPACE  hash  SECOND -> how many are remembered until then

local key = bucket .. 'ledger:' .. namespace
for second, count in string.gmatch(slots, '(%d+):(%d+)') do
  redis.call('HSET', key, second, (redis.call('HGET', key, second) or 0) + count)
end
local events, last = 0, 0
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  local second = tonumber(flat[i])
  if second * 1000 <= now_ms then
    redis.call('HDEL', key, flat[i])
  else
    events, last = events + flat[i + 1], math.max(last, second)
  end
end
if last > 0 then
  redis.call('PEXPIREAT', key, whole(last * 1000))
end
return {'counted', whole(events)}
