-- Shows the console a bucket: how much is in it, some of its resources, and the leases that were not released.
-- Flags: no-writes
-- Needs: bucket lease
-- Checks: seeded
-- ARGV prefixes     beginnings of encoded names, a line each: no other resource is shown
-- ARGV named        encoded names that are shown in any case, a line each
-- ARGV first        how many of the leases and holds, in the order in which they end, are passed over
-- ARGV looked_max   how many of them are looked at
-- ARGV held_ms_min  of these, those are shown that have been held for at least so long,
-- ARGV queued_min   and those for which at least so many wait
-- ARGV waiters_max  how many waiters of a resource are shown
-- ARGV after_ms     of the leases that were not released, those are shown that were noted after this
-- Returns surveyed LEASES HOLDS LOOKED QUEUED {RESOURCE...} {ENDED...}, LOOKED being how many there were to look at,
--   QUEUED how many wait for those, RESOURCE being NAME STATE QUEUED WAITER..., the rest as inspect.lua has it, and
--   ENDED being NAME OWNER TOKEN HELD_MS ENDED BY REASON AT_MS NOTED_MS

local allowed = {}
for prefix in string.gmatch(prefixes .. '\n', '(.-)\n') do
  allowed[#allowed + 1] = prefix
end

-- A name without a slash is in no namespace, and whoever is in none sees only those.
local function visible(name)
  for _, prefix in ipairs(allowed) do
    if string.sub(name, 1, #prefix) == prefix
      and (string.find(prefix, '/', 1, true) or not string.find(name, '/', 1, true)) then
      return true
    end
  end
  return false
end

local resources, shown = {}, {}

local function queued_for(name)
  return redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)
end

local function put(name, state, queued)
  shown[name] = true
  local resource = {name, show(state), queued}
  for _, kind in ipairs({'queue:', 'early:'}) do
    local left = waiters_max - #resource + 3
    local members = left > 0 and redis.call('ZRANGE', bucket .. kind .. name, 0, left - 1) or {}
    for _, member in ipairs(members) do
      local packed = redis.call('HGET', bucket .. 'waiters:' .. name, string.sub(member, 18))
      if packed then
        local who = cmsgpack.unpack(packed)
        resource[#resource + 1] = {who.owner, whole(now_ms - who.since), who.version, who.after_version}
      end
    end
  end
  resources[#resources + 1] = resource
end

local function held_for(state)
  return state.lease and tonumber(state['until']) > now_ms and (now_us - state.granted) / 1000 or -1
end

for name in string.gmatch(named, '[^\n]+') do
  put(name, load(name), queued_for(name))
end

local leases, holds = redis.call('ZCARD', bucket .. 'leases'), redis.call('ZCARD', bucket .. 'holds')
local names = redis.call('ZRANGE', bucket .. 'leases', first, first + looked_max - 1)
local left = looked_max - #names
if left > 0 then
  local from = math.max(0, first - leases)
  for _, name in ipairs(redis.call('ZRANGE', bucket .. 'holds', from, from + left - 1)) do
    names[#names + 1] = name
  end
end
local waiting = 0
for _, name in ipairs(names) do
  if visible(name) then
    local queued = queued_for(name)
    waiting = waiting + queued
    if not shown[name] then
      local state = load(name)
      local held_ms = held_for(state)
      if held_ms >= tonumber(held_ms_min) or (queued > 0 and queued >= tonumber(queued_min)) then
        put(name, state, queued)
      end
    end
  end
end

local ended = {}
local noted = redis.call('ZRANGEBYSCORE', bucket .. 'ended', '(' .. after_ms, '+inf', 'WITHSCORES')
for i = 1, #noted, 2 do
  local event = cmsgpack.unpack(noted[i])
  event[9] = noted[i + 1]
  if visible(event[1]) then
    ended[#ended + 1] = event
  end
end
-- Leases that have run out are ended by the next sweep, and are nobody's until then.
local due = #redis.call('ZRANGEBYSCORE', bucket .. 'leases', '-inf', now_ms, 'LIMIT', 0, 1000)
return {'surveyed', leases - due, holds, #names, waiting, resources, ended}
