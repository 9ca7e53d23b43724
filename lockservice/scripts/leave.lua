-- The call has ended without an answer: leaves the queue, or gives back a lease that its caller never heard of.
-- Flags: allow-oom
-- Needs: bucket lease
-- Checks: seeded times clock
-- ARGV name    the resource, encoded
-- ARGV waiter  who asked
-- ARGV call    the call that ended; a newer call of the same waiter is left alone
-- ARGV keep    '1': it may come back with its request_id, so its place is kept for a while
-- Returns left

-- Include: queue
local state = load(name)
local who = recall(name, waiter)
local ended = false

if who and who.call == call then
  if keep == '1' then
    keep_place(name, waiter, who)
  else
    drop(name, waiter, who)
  end
elseif waiter_of(state) == waiter and state.call == call then
  local ticket, print = state.ticket, state.print or ''
  end_lease(name, state, nil)
  ended = true
  if keep == '1' and ticket then
    keep_place(name, waiter, {ticket = ticket, print = print, version = '', after_version = ''})
  end
end
if advance(name, state) or ended then
  save(name, state)
end
return {'left'}
