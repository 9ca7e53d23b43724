-- queue.lua: who waits for a resource, and how it moves on from one holder to the next. Goes before what deals with
-- waiters; the usual calls, of resources that nobody waits for, are answered before Redis has come to it.

local CONFIRM_MS = 1400
local PLACE_KEPT_MS = 5000
local QUEUE_MS = 2 * 3600000
local SKIPS_MAX = 2000
local TOLD_MAX = 128
local ENDED_MAX = 16
local ENDED_MS = 3600000

-- Who hears of a grant by this script's answer: its field replica is set when that is the waiting calls of the replica
-- that runs it, and its field call becomes the one that was granted the lease.
local told = {}

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

-- Whether a waiter hears of its grant by this script's answer. Without a request_id its caller could not ask for the
-- lease again if the replica died before it has passed the answer on: then it is better to let it confirm.
local function hears_at_once(who)
  return told.replica and who.print ~= '' and string.match(who.call, '^[^.]+') == told.replica
end

-- Gives the lease to one waiter: for its ttl if it hears of it at once, and otherwise for as long as its replica may
-- take to confirm. False: it cannot be reached.
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
  local at_once = hears_at_once(who)
  if not (at_once or hint(who.call)) then
    keep_place(name, waiter, who)
    return false
  end
  drop(name, waiter, who)
  who.waiter = waiter
  if at_once then
    told.call = who.call
    grant(name, state, who, now_ms + who.ttl)
  else
    who.pending = '1'
    grant(name, state, who, now_ms + CONFIRM_MS)
  end
  return true
end

-- During a hold only the retry of the event that it is for may go on, and may already be waiting.
local function hand_off_to_retry(name, state)
  if holding or not state.hold_event or state.hold_event == '' then
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

-- Remembers, for people, a lease that its holder did not release; of a bucket the last few, for an hour.
local function note_end(name, owner, token, held_ms, ended, by, reason, at_ms)
  local key = bucket .. 'ended'
  redis.call('ZADD', key, now_ms, cmsgpack.pack({name, owner, token, held_ms, ended, by, reason, whole(at_ms)}))
  redis.call('PEXPIRE', key, ENDED_MS)
  local surplus = redis.call('ZCARD', key) - ENDED_MAX
  if surplus > 0 then
    redis.call('ZREM', key, unpack(redis.call('ZRANGE', key, 0, surplus - 1)))
  end
end

-- Moves the resource on: ends a lease that has run out and hands a free resource to the first waiter that can take
-- it. Everybody who touches a resource that others may wait for calls this first. Answers whether it changed the
-- state, and whether waiters are left that it had no time to look at, past whom nobody may be granted.
local function advance(name, state)
  local changed = false
  if state.lease and tonumber(state['until']) <= now_ms then
    -- It may be a while since it ran out.
    local kept_ms = whole(state['until'] - math.floor(state.granted / 1000))
    note_end(name, state.owner, state.token, kept_ms, 'expired', '', '', state['until'])
    local held_ms = end_lease(name, state, 'expired')
    redis.call('RPUSH', bucket .. 'expired', held_ms)
    redis.call('PEXPIRE', bucket .. 'expired', RELEASED_MS)
    changed = true
  end
  if state.lease or hold_active(state) then
    return changed, false
  end
  if state.hold_until then
    clear_hold(name, state)
    changed = true
  end
  if not waited_for(name) then
    return changed, false
  end
  if holding then
    redis.call('ZADD', bucket .. 'leases', now_ms + holding, name)
    return changed, false
  end
  admit_early(name, state)
  for _ = 1, SKIPS_MAX do
    local member = redis.call('ZRANGE', bucket .. 'queue:' .. name, 0, 0)[1]
    if not member then
      return changed, false
    end
    local waiter = string.sub(member, 18)
    local who = recall(name, waiter)
    if not who then
      redis.call('ZREM', bucket .. 'queue:' .. name, member)
    elseif hand_off(name, state, waiter, who) then
      return true, false
    end
  end
  redis.call('ZADD', bucket .. 'leases', now_ms, name)
  return changed, true
end

-- Moves it on, and writes it if that changed it.
local function advance_and_save(name, state)
  if advance(name, state) then
    save(name, state)
  end
end
