-- Counts the leases that are held in a bucket, by namespace.
-- Flags: no-writes
-- Needs: bucket
-- Checks: seeded
-- ARGV namespaces  those that are asked for, with a space between
-- Returns counted LEASES..., in their order

local leases = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', bucket .. 'leases', '(' .. whole(now_ms), '+inf')) do
  local namespace = string.match(name, '^([^/]*)/') or ''
  leases[namespace] = (leases[namespace] or 0) + 1
end
local answer = {'counted'}
for namespace in string.gmatch(namespaces .. ' ', '([^ ]*) ') do
  answer[#answer + 1] = leases[namespace] or 0
end
return answer
