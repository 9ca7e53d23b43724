-- Claims an event key: exactly one caller is told first while the key is remembered.
-- Needs: bucket claim
-- Checks: seeded times clock
-- ARGV name         the key, encoded
-- ARGV request      hash of owner and request_id, or ''
-- ARGV print        hash of the fields that a repeated request must have again, or ''
-- ARGV fingerprint  of the payload, or ''
-- ARGV retention    ms that the key is remembered
-- ARGV claim        the claim id it shall have, or '' for one phase
-- ARGV claim_ttl    ms, or '' for one phase
-- ARGV wait_ms      ms that it may wait from now on; 0: answer at once
-- ARGV call         the name of this call
-- Returns first CLAIM SEEN_MS EXPIRED NEW | duplicate SEEN_MS RESULT | in_progress SEEN_MS REMAINING_MS
--   | waiting SEEN_MS REMAINING_MS | mismatch SEEN_MS | reused | hold_off REMAINING_MS, EXPIRED being 1 when a claim
--   before it had run out, NEW 0 when the same caller was told so before

local digest = digest_of(name)
local key = bucket .. 'claim:' .. digest
local record = read(key)
local expired = 0
if expire_claim(digest, record) then
  record, expired = {}, 1
end

if record.seen then
  if fingerprint ~= '' and record.fingerprint and record.fingerprint ~= fingerprint then
    return {'mismatch', record.seen}
  end
  if request ~= '' and record.request == request then
    if record.print ~= print then
      return {'reused'}
    end
    if in_progress(record) then
      write_claim_until(digest, now_ms + claim_ttl)
    end
    return {'first', record.claim or '', record.seen, 0, 0}
  end
  if not in_progress(record) then
    return {'duplicate', record.seen, record.result or ''}
  end
  local remaining_ms = whole(record['until'] - now_ms)
  local watching = bucket .. 'watching:' .. digest
  if tonumber(wait_ms) <= 0 then
    redis.call('SREM', watching, call)
    return {'in_progress', record.seen, remaining_ms}
  end
  redis.call('SADD', watching, call)
  redis.call('PEXPIRE', watching, 2 * 3600000)
  alive(call)
  return {'waiting', record.seen, remaining_ms}
end

if holding then
  return {'hold_off', holding}
end
local fields = {'seen', whole(now_ms)}
local function add(field, value)
  if value ~= '' then
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
end
add('fingerprint', fingerprint)
add('request', request)
add('print', print)
if claim ~= '' then
  add('claim', claim)
  add('ttl', claim_ttl)
  add('retention', retention)
end
redis.call('HSET', key, unpack(fields))
if claim ~= '' then
  write_claim_until(digest, now_ms + claim_ttl)
else
  redis.call('PEXPIRE', key, retention)
end
return {'first', claim, whole(now_ms), expired, 1}
