-- Takes a freeze back at once.
-- Needs:
-- ARGV marker  what freeze answered
-- Returns thawed

local before = string.match(marker, '^moving %d+ (.*)$')
if redis.call('GET', bucket .. 'incarnation') == marker then
  redis.call('SET', bucket .. 'incarnation', before)
end
return {'thawed'}
