-- clock.lua: goes before what can only grant, behind times.lua. It refuses when this clock and that of the replica that
-- asks are too far apart: a clock that has jumped would end leases early, and grant what another still holds. A call that
-- was held up for longer than its replica waits for an answer looks the same: the replica looks at the clock, and asks
-- again.

if not in_time then
  return {'clock_unsafe', whole(now_us - earliest_us), whole(now_us - latest_us)}
end
