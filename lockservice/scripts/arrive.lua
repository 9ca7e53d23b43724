-- Makes what was copied of a bucket right for this shard: its clock, and the tokens that it granted before.
-- Nothing is open yet: the first call that comes seeds the bucket.
-- Needs: bucket lease claim
-- Checks: seeded
-- ARGV ahead_ms  how far this shard's clock is ahead of the other's; leases and claims must not end early for it
-- ARGV token     the last one granted on the other shard
-- Returns arrived

local function later(ms)
  return whole(tonumber(ms) + tonumber(ahead_ms))
end

if tonumber(ahead_ms) > 0 then
  for _, name in ipairs(redis.call('ZRANGE', bucket .. 'leases', 0, -1)) do
    local state = load(name)
    if state.lease then
      last_until(name, state, later(state['until']))
      save(name, state)
    end
  end
  for _, name in ipairs(redis.call('ZRANGE', bucket .. 'holds', 0, -1)) do
    local state = load(name)
    if state.hold_until then
      state.hold_until = later(state.hold_until)
      redis.call('ZADD', bucket .. 'holds', state.hold_until, name)
      save(name, state)
    end
  end
  for _, digest in ipairs(redis.call('ZRANGE', bucket .. 'claims', 0, -1)) do
    local record = read(bucket .. 'claim:' .. digest)
    if record['until'] then
      write_claim_until(digest, later(record['until']))
    end
  end
end
local before = tonumber(redis.call('GET', bucket .. 'token') or 0)
redis.call('SET', bucket .. 'token', whole(math.max(before, tonumber(token))))
redis.call('SET', bucket .. 'incarnation', 'arrived')
return {'arrived'}
