-- Seeds a bucket's fencing counter once per incarnation of the Redis process behind it, above every token that can
-- have been granted before, whatever the shard has lost. Tokens advance slower than a microsecond clock, so the
-- clock itself is such a number; what is left of the counter, and the highest token that the replica has seen, guard
-- against a clock that went back. Nothing else opens a bucket.
--
-- incarnation is one of
--   RUN_ID             open, and seeded by that process
--   RUN_ID:holding     open to those who hold, until the key holding runs out
--   moving UNTIL RUN_ID  being copied to another shard; as it was before, if that has not happened by UNTIL, ms
--   copying WHO        being copied from another shard
--   arrived            copied completely, and left by the other shard
--   moved              on another shard
-- Needs:
-- ARGV seen            the highest token this replica knows of in the bucket, or 0
-- ARGV service_us      the replica's clock, microseconds
-- ARGV clock_error_us  how far the two clocks may be apart
-- ARGV hold_ms         how long an exclusive shard grants nothing after a change of primary; 0: it is fenced
-- Returns seeded | holding | moving | moved | clock_unsafe DIFFERENCE_US

local GAP = 60000000

local process = string.sub(run_id, 1, 40)
local found = redis.call('GET', bucket .. 'incarnation') or ''
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
if found == 'moved' then
  return {'moved'}
end
if string.sub(found, 1, 7) == 'copying' then
  return {'moving'}
end
local moving_until, before = string.match(found, '^moving (%d+) (.*)$')
if moving_until then
  if tonumber(moving_until) * 1000 > now_us then
    return {'moving'}
  end
  -- Whoever was moving it has given up, and can no longer take it away: see depart.lua.
  redis.call('SET', bucket .. 'incarnation', before)
  found = before
end
if found == process then
  return {'seeded'}
end
if found == process .. ':holding' then
  if redis.call('PTTL', bucket .. 'holding') > 0 then
    return {'holding'}
  end
  redis.call('SET', bucket .. 'incarnation', process)
  return {'seeded'}
end
if math.abs(now_us - service_us) > tonumber(clock_error_us) then
  return {'clock_unsafe', string.format('%.0f', now_us - service_us)}
end
local last = tonumber(redis.call('GET', bucket .. 'token') or 0)
local base = math.max(last + GAP, seen + GAP, now_us)
redis.call('SET', bucket .. 'token', string.format('%.0f', base))
-- A bucket that has just arrived has lost nothing on its way.
if tonumber(hold_ms) > 0 and found ~= 'arrived' then
  redis.call('SET', bucket .. 'holding', '1', 'PX', hold_ms)
  redis.call('SET', bucket .. 'incarnation', process .. ':holding')
  return {'holding'}
end
redis.call('SET', bucket .. 'incarnation', process)
return {'seeded'}
