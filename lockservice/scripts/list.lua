-- Shows the resources of one bucket that are held, or kept for a retry, and whose encoded name begins with the prefix.
-- Only names in a namespace have a slash, as their prefixes do: one without is not that of names in any.
-- Flags: no-writes
-- Needs: bucket lease
-- Checks: seeded
-- ARGV prefix     text
-- ARGV locks_max  number
-- Returns locks LOCK..., LOCK being NAME STATE QUEUED as inspect.lua has them

-- Include: queue
local answer, seen = {'locks'}, {}
local in_namespace = string.find(prefix, '/', 1, true)
local function listed(name)
  return string.sub(name, 1, #prefix) == prefix and (in_namespace or not string.find(name, '/', 1, true))
end
for _, kind in ipairs({'leases', 'holds'}) do
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', bucket .. kind, '(' .. whole(now_ms), '+inf')) do
    if listed(name) and not seen[name] and #answer <= tonumber(locks_max) then
      seen[name] = true
      answer[#answer + 1] = {name, show(load(name)),
        redis.call('ZCARD', bucket .. 'queue:' .. name) + redis.call('ZCARD', bucket .. 'early:' .. name)}
    end
  end
end
return answer
