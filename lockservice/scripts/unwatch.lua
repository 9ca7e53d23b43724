-- A call that waited for a claim to end has gone.
-- Flags: allow-oom
-- Needs: bucket claim
-- Checks: seeded
-- ARGV name     the key, encoded
-- ARGV call     the call that ended
-- ARGV claim    a claim id that this call may have been given without hearing of it; it is given back
-- Returns left

local digest = digest_of(name)
redis.call('SREM', bucket .. 'watching:' .. digest, call)
local key = bucket .. 'claim:' .. digest
if claim ~= '' and redis.call('HGET', key, 'claim') == claim then
  redis.call('DEL', key)
  redis.call('ZREM', bucket .. 'claims', digest)
  tell_watchers(digest)
end
return {'left'}
