-- Stops every script on a bucket, so that what has changed last can be copied. It begins again by itself.
-- Needs:
-- ARGV freeze_ms  after how long
-- Returns frozen MARKER TOKEN | moved | holding, the bucket granting nothing for a while after a change of primary

local found = redis.call('GET', bucket .. 'incarnation') or ''
if found == 'moved' then
  return {'moved'}
end
local before = string.match(found, '^moving %d+ (.*)$') or found
if string.sub(before, -8) == ':holding' then
  return {'holding'}
end
local clock = redis.call('TIME')
local until_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + freeze_ms
local marker = string.format('moving %.0f %s', until_ms, before)
redis.call('SET', bucket .. 'incarnation', marker)
return {'frozen', marker, redis.call('GET', bucket .. 'token') or '0'}
