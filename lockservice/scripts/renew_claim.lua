-- Extends a claim that is still held.
-- Flags: allow-oom
-- Needs: bucket claim
-- Checks: seeded
-- ARGV name       the key, encoded
-- ARGV claim      the claim id
-- ARGV claim_ttl  ms from now, or '' for the one it was granted with
-- Returns renewed CLAIM_TTL EXPIRED | not_held EXPIRED

local digest = digest_of(name)
local record = read(bucket .. 'claim:' .. digest)
if expire_claim(digest, record) then
  return {'not_held', 1}
end
if record.claim ~= claim or not in_progress(record) then
  return {'not_held', 0}
end
local ttl_ms = claim_ttl ~= '' and claim_ttl or record.ttl
write_claim_until(digest, now_ms + ttl_ms)
return {'renewed', ttl_ms, 0}
