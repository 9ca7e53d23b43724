-- seeded.lua: goes before each call of what works on a bucket. It refuses to run on a Redis process that has not seeded
-- the bucket's fencing counter, and on a shard that the bucket has left (see seed.lua).

if redis.call('GET', bucket .. 'incarnation') ~= run_id then
  return {'reseed'}
end

-- Ms for which nothing may be granted, since the primary has changed and leases may have been lost with the one
-- before; nil when that does not apply.
local holding
if #run_id > 40 then
  holding = redis.call('PTTL', bucket .. 'holding')
  if holding <= 0 then
    return {'reseed'}
  end
end
