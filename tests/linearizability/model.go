package main

import "github.com/anishathalye/porcupine"

// The model is a fenced mutex, one for each resource. Its state is the highest token that was granted, who
// holds the lease (known by its token), until when that holder counts on it, and the earliest moment at which
// the next step can have been taken.
//
//   - A grant has a token above every one before it. With exclusion it also needs the lease to be free: released,
//     or past the deadline of its holder, counted from when that holder asked. To replace a holder after its
//     deadline moves the earliest moment of this step, and so of all later ones, to that deadline.
//   - A renewal or a release that succeeded was made by the holder. One that was refused was not, or its deadline
//     had passed by then.
//   - Who was told HELD, and by which token, has read the state: that token holds the lease.
//
// Without exclusion (a shard in the mode "fenced", over a fault) only the first half of the first rule is promised,
// and only grants are checked.
//
// Every grant of a history has its place in an order, so one whose token is not the lowest that is left leads
// nowhere. Each grant knows the token before it: without that the checker tries every rising choice of the tokens
// of calls that were open at one time, which can take longer than anybody waits.
//
// An acquire whose outcome is unknown may or may not have happened: it has if others saw a token that nobody was
// told. Such a grant is put between the start of the first acquire that could have made it and the end of the
// first call that saw it; nobody counts on it. There are not more of them than acquires without a grant.
// Who sent a release and got no answer counts on the lease no longer, so it ends its deadline. A renewal without
// an answer changes nothing, as long as renewals do not ask for less than what is left.
//
// Not modelled: forced releases, HELD without a holder (a queue or a held retry), the order of waiters.
type state struct {
	token, holder, deadline, earliest int64
}

type verb string

const (
	granted  verb = "grant of"
	renewed  verb = "renewal of"
	released verb = "release of"
	lost     verb = "refusal of"
	seen     verb = "HELD by"
)

// A step is one operation as the model takes it; times in ns. A grant's previous is the token of the grant before it.
type step struct {
	verb            verb
	token, deadline int64
	started, ended  int64
	who             string
	previous        int64
}

func (taken step) follows(at state) bool {
	return taken.token > at.token && taken.previous == at.token
}

func fencedMutex(exclusive bool) porcupine.Model {
	next := stepInOrder
	if exclusive {
		next = stepExclusively
	}
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(before, input, _ any) (bool, any) {
			after, ok := next(before.(state), input.(step))
			return ok, after
		},
	}
}

func stepInOrder(at state, taken step) (state, bool) {
	return state{token: taken.token}, taken.follows(at)
}

func stepExclusively(at state, taken step) (state, bool) {
	replaces := taken.verb == granted || taken.verb == lost && at.holder == taken.token
	if replaces && at.holder != 0 {
		at.earliest = max(at.earliest, at.deadline)
		at.holder = 0
	}
	if taken.ended < at.earliest {
		return at, false
	}
	switch taken.verb {
	case granted:
		follows := taken.follows(at)
		at.token, at.holder, at.deadline = taken.token, taken.token, taken.deadline
		return at, follows
	case renewed:
		holds := at.holder == taken.token
		at.deadline = taken.deadline
		return at, holds
	case released:
		holds := at.holder == taken.token
		at.holder = 0
		return at, holds
	case seen:
		return at, at.holder == taken.token
	case lost:
		return at, true
	}
	return at, false
}
