-- Ends a claim: done remembers the key and its result, otherwise the key is free again.
-- Flags: allow-oom
-- Needs: bucket claim
-- Checks: seeded
-- ARGV name    the key, encoded
-- ARGV claim   the claim id
-- ARGV done    '1' or ''
-- ARGV result  bytes handed to later duplicates
-- Returns settled EXPIRED EVENT_MS | not_held EXPIRED, EVENT_MS being for how long the key is remembered from now, or ''
--   when this call has not changed that

local digest = digest_of(name)
local key = bucket .. 'claim:' .. digest
local settled = bucket .. 'settled:' .. claim
local record = read(key)
local expired = expire_claim(digest, record) and 1 or 0

if expired == 1 or record.claim ~= claim or not in_progress(record) then
  if redis.call('EXISTS', settled) == 1 then
    return {'settled', 0, ''}
  end
  return {'not_held', expired}
end

redis.call('ZREM', bucket .. 'claims', digest)
redis.call('SET', settled, '1', 'PX', SETTLED_MS)
if done == '1' then
  redis.call('HDEL', key, 'claim', 'until', 'ttl', 'retention', 'request', 'print')
  if result ~= '' then
    redis.call('HSET', key, 'result', result)
  end
  redis.call('PEXPIRE', key, record.retention)
else
  redis.call('DEL', key)
end
tell_watchers(digest)
return {'settled', 0, done == '1' and record.retention or ''}
