-- Seeds a bucket's fencing counter once per incarnation of the Redis process behind it, above every token that can
-- have been granted before, whatever the shard has lost. Tokens advance slower than a microsecond clock, so the
-- clock itself is such a number; what is left of the counter, and the highest token that the replica has seen, guard
-- against a clock that went back.
-- Needs:
-- ARGV seen            the highest token this replica knows of in the bucket, or 0
-- ARGV service_us      the replica's clock, microseconds
-- ARGV clock_error_us  how far the two clocks may be apart
-- Returns seeded | clock_unsafe DIFFERENCE_US

local GAP = 60000000

if redis.call('GET', bucket .. 'incarnation') == run_id then
  return {'seeded'}
end
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
if math.abs(now_us - service_us) > tonumber(clock_error_us) then
  return {'clock_unsafe', string.format('%.0f', now_us - service_us)}
end
local last = tonumber(redis.call('GET', bucket .. 'token') or 0)
local base = math.max(last + GAP, seen + GAP, now_us)
redis.call('SET', bucket .. 'token', string.format('%.0f', base))
redis.call('SET', bucket .. 'incarnation', run_id)
return {'seeded'}
