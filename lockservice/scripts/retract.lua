-- Says of a bucket that was to come to this shard, and has not, that it is on the other one.
-- Needs:
-- Returns retracted | open, the bucket being in use on this shard

local found = redis.call('GET', bucket .. 'incarnation') or 'moved'
if found ~= 'moved' and found ~= 'arrived' and string.sub(found, 1, 7) ~= 'copying' then
  return {'open'}
end
redis.call('SET', bucket .. 'incarnation', 'moved')
return {'retracted'}
