-- Writes one key of a bucket as it is on the shard that it is copied from.
-- Needs: bucket
-- Checks: seeded
-- ARGV key         what comes behind the bucket's prefix
-- ARGV expires_ms  when it runs out, on this shard's clock; 0: never
-- ARGV dump        of its value; '': it is gone
-- Returns put

if dump == '' then
  redis.call('DEL', bucket .. key)
else
  redis.call('RESTORE', bucket .. key, expires_ms, dump, 'REPLACE', 'ABSTTL')
end
return {'put'}
