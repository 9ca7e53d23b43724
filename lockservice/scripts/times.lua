-- times.lua: goes before what grants. Says whether this clock and that of the replica that asks are close enough.

local in_time = now_us >= tonumber(earliest_us) and now_us <= tonumber(latest_us)
