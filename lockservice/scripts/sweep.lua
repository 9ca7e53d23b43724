-- Moves on what has run out in a bucket, says that the replica lives, and answers when to look again.
-- Flags: allow-oom
-- Needs: bucket lease claim
-- Checks: seeded times clock
-- ARGV replica  the replica that asks
-- ARGV parked   '1': it has waiting calls in this bucket
-- Returns swept HINTS NEXT_MS HOLDS CLAIMS_EXPIRED HELD_MS..., HINTS being -1 when the replica had lapsed, NEXT_MS -1
--   when nothing is going to run out, and one HELD_MS for each lease that expired

-- Include: queue
local SWEEP_MAX = 100

local function due(kind)
  return redis.call('ZRANGEBYSCORE', bucket .. kind, '-inf', now_ms, 'LIMIT', 0, SWEEP_MAX)
end

for _, name in ipairs(due('leases')) do
  redis.call('ZREM', bucket .. 'leases', name)
  local state = load(name)
  advance_and_save(name, state)
  if state.lease then
    redis.call('ZADD', bucket .. 'leases', state['until'], name)
  end
end
for _, name in ipairs(due('holds')) do
  redis.call('ZREM', bucket .. 'holds', name)
  advance_and_save(name, load(name))
end
local claims_expired = 0
for _, digest in ipairs(due('claims')) do
  local record = read(bucket .. 'claim:' .. digest)
  if expire_claim(digest, record) then
    claims_expired = claims_expired + 1
  else
    redis.call('ZREM', bucket .. 'claims', digest)
  end
end

local hints = parked == '1' and alive(replica) or 0
local next_ms = -1
for _, kind in ipairs({'leases', 'holds', 'claims'}) do
  local first = redis.call('ZRANGE', bucket .. kind, 0, 0, 'WITHSCORES')
  if first[2] and (next_ms < 0 or first[2] - now_ms < next_ms) then
    next_ms = math.max(0, first[2] - now_ms)
  end
end
local answer = {'swept', hints, whole(next_ms), redis.call('ZCARD', bucket .. 'holds'), claims_expired}
local held = redis.call('LRANGE', bucket .. 'expired', 0, -1)
if #held > 0 then
  redis.call('DEL', bucket .. 'expired')
  for _, held_ms in ipairs(held) do
    answer[#answer + 1] = held_ms
  end
end
return answer
