-- lease.lua: the lease of a resource, and what is remembered of it. Goes before every script that touches one.
--
-- Keys of a resource, each behind its bucket's prefix:
--   lease:NAME    string  the lease while it is held; what is remembered of it afterwards; the hold: a packed table,
--                         since one GET and one SET cost a third of reading and writing a hash
--   queue:NAME    zset    waiters that could be granted, by (version, ticket): score version (-1: none), member TICKET:WAITER
--   early:NAME    zset    waiters whose after_version is not completed yet, by after_version
--   waiters:NAME  hash    WAITER -> what its call asked for
--   gone:NAME     zset    waiters whose call ended without an answer, by the moment; their place is kept for 5 s
--   event:HASH    string  an event that was completed on the resource
--   released:N    set     leases that were released in the Nth minute, so that a repeated release is recognised; a key
--                         each would be most of the keys of a Redis, and its expiry most of its work
-- and of its bucket: leases, holds, claims (zset, NAME by when it ends), token, ticket (counters), expired (list, what
-- the next sweep counts), ended (zset, the last leases that were not released, by when that was).

local RELEASED_MS = 60000
local GRANTED = {'owner', 'lease', 'waiter', 'call', 'print', 'ttl', 'version', 'event_id', 'retention', 'ticket',
  'pending'}

local function load(name)
  local packed = redis.call('GET', bucket .. 'lease:' .. name)
  return packed and cmsgpack.unpack(packed) or {}
end

local function waited_for(name)
  return redis.call('EXISTS', bucket .. 'waiters:' .. name) == 1
end

local function event_key(name, event_id)
  return bucket .. 'event:' .. redis.sha1hex(name .. '\n' .. event_id)
end

local function hold_active(state)
  return state.hold_until and tonumber(state.hold_until) > now_ms
end

local function is_early(state, after)
  return after and after ~= '' and tonumber(state.completed or -1) < tonumber(after)
end

local function is_stale(state, who)
  return who.version ~= '' and who.allow_stale == '' and state.completed
    and tonumber(who.version) < tonumber(state.completed)
end

local function is_duplicate(name, who)
  return who.event_id ~= '' and redis.call('EXISTS', event_key(name, who.event_id)) == 1
end

local function waiter_of(state)
  return state.lease and (state.waiter or state.lease)
end

-- Writes the resource, and how long it is remembered: what was left unfinished or has a version long, a plain release
-- shortly. The functions below only change the state; every script that may have changed it ends with this.
local function save(name, state)
  local key, packed = bucket .. 'lease:' .. name, cmsgpack.pack(state)
  if state.lease then
    redis.call('SET', key, packed, 'PXAT', whole(state['until'] + memory_ms))
  elseif state.completed or state.hold_until or state.ended == 'expired' or state.ended == 'forced' then
    redis.call('SET', key, packed, 'PX', whole(math.max(memory_ms, (state.hold_until or 0) - now_ms + 1000)))
  else
    redis.call('SET', key, packed, 'PX', RELEASED_MS)
  end
end

local function clear_hold(name, state)
  if state.hold_until then
    redis.call('ZREM', bucket .. 'holds', name)
    state.hold_until, state.hold_event, state.hold_owner = nil, nil, nil
  end
end

-- Ends the lease. Without a word for how it ended it never counted: it was given back before its caller heard of it.
local function end_lease(name, state, ended)
  redis.call('ZREM', bucket .. 'leases', name)
  state.ended = ended or state.ended
  local held_ms = whole((now_us - state.granted) / 1000)
  for _, field in ipairs(GRANTED) do
    state[field] = nil
  end
  state['until'], state.granted = nil, nil
  return held_ms
end

local function last_until(name, state, until_ms)
  state['until'] = whole(until_ms)
  redis.call('ZADD', bucket .. 'leases', state['until'], name)
end

-- Gives the lease to who. The caller has made sure that nobody holds the resource.
local function grant(name, state, who, until_ms)
  for _, field in ipairs(GRANTED) do
    state[field] = who[field] ~= '' and who[field] or nil
  end
  if who.waiter == who.lease then
    state.waiter = nil
  end
  state.token = whole(redis.call('INCR', bucket .. 'token'))
  state.granted = whole(now_us)
  last_until(name, state, until_ms)
end

-- The resource as operators see it.
local function show(state)
  local held = state.lease and tonumber(state['until']) > now_ms
  local hold = hold_active(state)
  return {held and state.owner or '', held and state.token or '', held and whole(state['until'] - now_ms) or '',
    state.completed or '', hold and state.hold_owner or '', hold and state.hold_event or '',
    hold and whole(state.hold_until - now_ms) or '', held and whole((now_us - state.granted) / 1000) or ''}
end
