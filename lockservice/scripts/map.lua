-- Remembers a shard map, unless one is remembered that is not older. Its key is the record's, not a bucket's prefix.
-- Needs:
-- ARGV record  JSON
-- ARGV epoch   of the record
-- Returns the record that is remembered now

local found = redis.call('GET', bucket)
if found then
  local readable, known = pcall(cjson.decode, found)
  if not readable or tonumber(known.epoch) >= tonumber(epoch) then
    return found
  end
end
redis.call('SET', bucket, record)
return record
