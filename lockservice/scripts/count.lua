-- Counts what is held in a bucket, and who waits for what is held or kept for a retry.
-- Flags: no-writes
-- Needs: bucket
-- Checks: seeded
-- Returns counted LEASES WAITERS

local waiters, seen = 0, {}
local function count(kind)
  local names = redis.call('ZRANGEBYSCORE', bucket .. kind, '(' .. whole(now_ms), '+inf')
  for _, name in ipairs(names) do
    if not seen[name] then
      seen[name] = true
      waiters = waiters + redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)
    end
  end
  return #names
end
local leases = count('leases')
count('holds')
return {'counted', leases, waiters}
