-- Makes a bucket ready to take what is copied from another shard.
-- Needs:
-- ARGV marker  what incarnation shall be while it is copied; it names who copies
-- Returns prepared | open, the bucket being in use on this shard

local found = redis.call('GET', bucket .. 'incarnation') or 'moved'
if found ~= 'moved' and found ~= 'arrived' and string.sub(found, 1, 7) ~= 'copying' then
  return {'open'}
end
redis.call('SET', bucket .. 'incarnation', marker)
return {'prepared'}
