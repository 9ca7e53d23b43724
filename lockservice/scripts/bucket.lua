-- bucket.lua: goes before what works on buckets. It reads the clock once, and knows how to reach a waiting call.

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- Tells a replica that one of its waiting calls should look again. The state in Redis is the truth and this only a
-- hint: each is counted, so that the replica notices at its next sweep when one was lost. False: nobody heard it.
-- A call is named REPLICA.NUMBER.
local function hint(call)
  local replica = string.match(call, '^[^.]+')
  local key = bucket .. 'replica:' .. replica
  if redis.call('EXISTS', key) == 0 then
    return false
  end
  redis.call('INCR', key)
  return redis.call('PUBLISH', 'ls:inbox:' .. replica, bucket .. ' ' .. call) > 0
end

-- Says that this replica lives and has waiting calls in this bucket; answers how many hints were sent to it since
-- it first said so, or -1 when it had lapsed.
local function alive(replica)
  local key = bucket .. 'replica:' .. string.match(replica, '^[^.]+')
  if redis.call('SET', key, 0, 'NX', 'PX', 1400) then
    return -1
  end
  redis.call('PEXPIRE', key, 1400)
  return tonumber(redis.call('GET', key))
end
