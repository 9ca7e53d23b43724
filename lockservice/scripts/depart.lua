-- Gives a bucket away. From here on it is on the shard that it was copied to, and nowhere else.
-- Needs:
-- ARGV marker  what freeze answered
-- Returns departed | thawed, the freeze having run out before: what was copied is not complete

local found = redis.call('GET', bucket .. 'incarnation')
if found ~= 'moved' and found ~= marker then
  return {'thawed'}
end
redis.call('SET', bucket .. 'incarnation', 'moved')
return {'departed'}
