-- resource.lua: how a resource moves on from one holder to the next. Goes before every script that touches one.
--
-- Keys of a resource, each behind its bucket's prefix:
--   lease:NAME    string  the lease while it is held; what is remembered of it afterwards; the hold: a packed table,
--                         since one GET and one SET cost a third of reading and writing a hash
--   queue:NAME    zset    waiters that could be granted, by (version, ticket): score version (-1: none), member TICKET:WAITER
--   early:NAME    zset    waiters whose after_version is not completed yet, by after_version
--   waiters:NAME  hash    WAITER -> what its call asked for
--   gone:NAME     zset    waiters whose call ended without an answer, by the moment; their place is kept for 5 s
--   event:HASH    string  an event that was completed on the resource
--   released:ID   string  a lease that was released, so that a repeated release is recognised
-- and of its bucket: leases, holds, claims (zset, NAME by when it ends), token, ticket (counters), expired (list).

local CONFIRM_MS = 1400
local PLACE_KEPT_MS = 5000
local RELEASED_MS = 60000
local QUEUE_MS = 2 * 3600000
local SKIPS_MAX = 2000
local TOLD_MAX = 128
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

local function recall(name, waiter)
  local packed = redis.call('HGET', bucket .. 'waiters:' .. name, waiter)
  return packed and cmsgpack.unpack(packed)
end

local function write_waiter(name, waiter, who)
  redis.call('HSET', bucket .. 'waiters:' .. name, waiter, cmsgpack.pack(who))
  redis.call('PEXPIRE', bucket .. 'waiters:' .. name, QUEUE_MS)
end

local function leave_queues(name, waiter, who)
  local member = who.ticket .. ':' .. waiter
  redis.call('ZREM', bucket .. 'queue:' .. name, member)
  redis.call('ZREM', bucket .. 'early:' .. name, member)
  redis.call('ZREM', bucket .. 'gone:' .. name, waiter)
end

local function drop(name, waiter, who)
  leave_queues(name, waiter, who)
  redis.call('HDEL', bucket .. 'waiters:' .. name, waiter)
end

-- Places that nobody came back for in time are given up.
local function forget_gone(name)
  local key = bucket .. 'gone:' .. name
  local old = redis.call('ZRANGEBYSCORE', key, '-inf', now_ms - PLACE_KEPT_MS, 'LIMIT', 0, TOLD_MAX)
  if #old > 0 then
    redis.call('ZREM', key, unpack(old))
    redis.call('HDEL', bucket .. 'waiters:' .. name, unpack(old))
  end
end

-- The call ended without an answer: it blocks nobody from now on, and its place is kept for a while.
local function keep_place(name, waiter, who)
  leave_queues(name, waiter, who)
  who.gone = whole(now_ms)
  write_waiter(name, waiter, who)
  forget_gone(name)
  redis.call('ZADD', bucket .. 'gone:' .. name, now_ms, waiter)
  redis.call('PEXPIRE', bucket .. 'gone:' .. name, QUEUE_MS)
end

local function enqueue(name, waiter, who, early)
  local kind = early and 'early:' or 'queue:'
  local score = early and who.after_version or (who.version ~= '' and who.version or -1)
  leave_queues(name, waiter, who)
  who.gone = nil
  write_waiter(name, waiter, who)
  redis.call('ZADD', bucket .. kind .. name, score, who.ticket .. ':' .. waiter)
  redis.call('PEXPIRE', bucket .. kind .. name, QUEUE_MS)
end

-- Waiters whose after_version has been completed join those that can be granted.
local function admit_early(name, state)
  local ready = state.completed and redis.call('ZRANGEBYSCORE', bucket .. 'early:' .. name, '-inf', state.completed,
    'LIMIT', 0, TOLD_MAX) or {}
  for _, member in ipairs(ready) do
    local waiter = string.sub(member, 18)
    local who = recall(name, waiter)
    if who then
      enqueue(name, waiter, who, false)
    else
      redis.call('ZREM', bucket .. 'early:' .. name, member)
    end
  end
end

-- Tells waiters that a completed version has just made stale, so that they need not wait for their turn to hear it.
local function tell_stale(name, state, before)
  local members = redis.call('ZRANGEBYSCORE', bucket .. 'queue:' .. name, before or 0, '(' .. state.completed,
    'LIMIT', 0, TOLD_MAX)
  for _, member in ipairs(members) do
    local waiter = string.sub(member, 18)
    local who = recall(name, waiter)
    if who and is_stale(state, who) then
      drop(name, waiter, who)
      hint(who.call)
    end
  end
end

-- Gives the lease to one waiter, for as long as its replica may take to confirm. False: it cannot be reached.
local function hand_off(name, state, waiter, who)
  if tonumber(who.deadline) < now_ms then
    drop(name, waiter, who)
    return false
  end
  if is_duplicate(name, who) or is_stale(state, who) then
    drop(name, waiter, who)
    hint(who.call)
    return false
  end
  if not hint(who.call) then
    keep_place(name, waiter, who)
    return false
  end
  drop(name, waiter, who)
  who.waiter, who.pending = waiter, '1'
  grant(name, state, who, now_ms + CONFIRM_MS)
  return true
end

-- During a hold only the retry of the event that it is for may go on, and may already be waiting.
local function hand_off_to_retry(name, state)
  if not state.hold_event or state.hold_event == '' then
    return
  end
  for _, member in ipairs(redis.call('ZRANGE', bucket .. 'queue:' .. name, 0, 999)) do
    local waiter = string.sub(member, 18)
    local who = recall(name, waiter)
    if who and who.event_id == state.hold_event and hand_off(name, state, waiter, who) then
      return
    end
  end
end

-- Moves the resource on: ends a lease that has run out and hands a free resource to the first waiter that can take
-- it. Everybody who touches a resource calls this first. Answers whether it changed the state; whether waiters are left
-- that it had no time to look at, past whom nobody may be granted; and, of a free resource, whether anybody waits.
local function advance(name, state)
  local changed = false
  if state.lease and tonumber(state['until']) <= now_ms then
    local held_ms = end_lease(name, state, 'expired')
    redis.call('RPUSH', bucket .. 'expired', held_ms)
    redis.call('PEXPIRE', bucket .. 'expired', RELEASED_MS)
    changed = true
  end
  if state.lease or hold_active(state) then
    return changed, false, true
  end
  if state.hold_until then
    clear_hold(name, state)
    changed = true
  end
  if not waited_for(name) then
    return changed, false, false
  end
  admit_early(name, state)
  for _ = 1, SKIPS_MAX do
    local member = redis.call('ZRANGE', bucket .. 'queue:' .. name, 0, 0)[1]
    if not member then
      return changed, false, true
    end
    local waiter = string.sub(member, 18)
    local who = recall(name, waiter)
    if not who then
      redis.call('ZREM', bucket .. 'queue:' .. name, member)
    elseif hand_off(name, state, waiter, who) then
      return true, false, true
    end
  end
  redis.call('ZADD', bucket .. 'leases', now_ms, name)
  return changed, true, true
end

-- Moves it on, and writes it if that changed it.
local function advance_and_save(name, state)
  if advance(name, state) then
    save(name, state)
  end
end

-- The resource as operators see it.
local function show(state)
  local held = state.lease and tonumber(state['until']) > now_ms
  local hold = hold_active(state)
  return {held and state.owner or '', held and state.token or '', held and whole(state['until'] - now_ms) or '',
    state.completed or '', hold and state.hold_owner or '', hold and state.hold_event or '',
    hold and whole(state.hold_until - now_ms) or ''}
end
