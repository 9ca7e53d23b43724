-- clock.lua: goes before what grants. It refuses when this clock and that of the replica that asks are too far apart:
-- a clock that has jumped would end leases early, and grant what another still holds. A call that was held up for
-- longer than its replica waits for an answer looks the same: the replica looks at the clock, and asks again.

if now_us < tonumber(earliest_us) or now_us > tonumber(latest_us) then
  return {'clock_unsafe', whole(now_us - earliest_us), whole(now_us - latest_us)}
end
