-- claim.lua: the record of an event key. Goes before every script that touches one.
--
--   claim:HASH    hash    seen (ms), fingerprint, request, print; while it is claimed: claim, until, ttl, retention;
--                         afterwards: result
--   watching:HASH set     the calls that wait for the claim to end
--   settled:ID    string  how a claim was settled, so that a repeated Settle is recognised

local SETTLED_MS = 60000

local function read(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

local function digest_of(name)
  return redis.sha1hex(name)
end

-- Everybody who waited looks again: all become DUPLICATE, or one becomes FIRST.
local function tell_watchers(digest)
  local key = bucket .. 'watching:' .. digest
  local members = redis.call('SMEMBERS', key)
  if #members > 0 then
    redis.call('DEL', key)
    for _, call in ipairs(members) do
      hint(call)
    end
  end
end

local function in_progress(record)
  return record['until'] and tonumber(record['until']) > now_ms
end

-- A claim that ran out is forgotten: the next caller is FIRST. True: this call ended it.
local function expire_claim(digest, record)
  if not record['until'] or in_progress(record) then
    return false
  end
  redis.call('DEL', bucket .. 'claim:' .. digest)
  redis.call('ZREM', bucket .. 'claims', digest)
  tell_watchers(digest)
  return true
end

local function write_claim_until(digest, until_ms)
  redis.call('HSET', bucket .. 'claim:' .. digest, 'until', whole(until_ms))
  redis.call('PEXPIREAT', bucket .. 'claim:' .. digest, whole(until_ms + memory_ms))
  redis.call('ZADD', bucket .. 'claims', whole(until_ms), digest)
end
