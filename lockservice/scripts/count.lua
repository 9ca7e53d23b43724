-- Counts what is held in a bucket, and who waits for it.
-- Flags: no-writes
-- Needs: bucket
-- Returns counted LEASES WAITERS

local names = redis.call('ZRANGEBYSCORE', bucket .. 'leases', '(' .. whole(now_ms), '+inf')
local waiters = 0
for _, name in ipairs(names) do
  waiters = waiters + redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)
end
return {'counted', #names, waiters}
