package main

import (
	"strings"
	"testing"
	"time"
)

const broken = "there is no place for"

// a holds 7 from 0 to 10 and counts on it until 100.
var a = operation{"acquire", "r", "a", "granted", 0, 10, 7, 100}

func TestHistories(t *testing.T) {
	for name, test := range map[string]struct {
		history  []operation
		fenced   string
		excluded string
	}{
		"a grant after a release": {
			[]operation{a, {"release", "r", "a", "released", 20, 30, 7, 0}, {"acquire", "r", "b", "granted", 15, 40, 8, 200}}, "", "",
		},
		"a token twice": {
			[]operation{a, {"acquire", "r", "b", "granted", 0, 200, 7, 300}}, broken, broken,
		},
		"a lower token later": {
			[]operation{a, {"acquire", "r", "b", "granted", 110, 120, 6, 200}}, broken, broken,
		},
		"tokens of calls at one time, in either order": {
			[]operation{a, {"acquire", "r", "b", "granted", 10, 20, 6, 10}}, "", "",
		},
		"a second holder before the deadline": {
			[]operation{a, {"acquire", "r", "b", "granted", 50, 99, 8, 200}}, "", broken,
		},
		"a second holder at the deadline": {
			[]operation{a, {"acquire", "r", "b", "granted", 50, 100, 8, 200}}, "", "",
		},
		"a second holder before the deadline of a renewal": {
			[]operation{a, {"renew", "r", "a", "renewed", 60, 70, 7, 160}, {"acquire", "r", "b", "granted", 80, 150, 8, 300}}, "", broken,
		},
		"what follows a replacement happens after the deadline too": {
			[]operation{a, {"acquire", "r", "b", "granted", 50, 110, 8, 200}, {"acquire", "r", "c", "held", 60, 90, 8, 0}}, "", broken,
		},
		"a release by who was replaced": {
			[]operation{a, {"acquire", "r", "b", "granted", 110, 120, 8, 200}, {"release", "r", "a", "released", 130, 140, 7, 0}}, "", broken,
		},
		"a lease lost before its deadline": {
			[]operation{a, {"renew", "r", "a", "not_held", 50, 60, 7, 0}}, "", broken,
		},
		"a lease lost after its deadline": {
			[]operation{a, {"renew", "r", "a", "not_held", 95, 101, 7, 0}}, "", "",
		},
		"a stale read": {
			[]operation{a, {"release", "r", "a", "released", 20, 30, 7, 0}, {"acquire", "r", "b", "held", 40, 50, 7, 0}}, "", broken,
		},
		"a release without an answer ends the holder's trust": {
			[]operation{a, {"release", "r", "a", "unknown", 20, 30, 7, 0}, {"acquire", "r", "b", "granted", 40, 50, 8, 200}}, "", "",
		},
		"an unknown acquire that happened": {
			[]operation{{"acquire", "r", "z", "unknown", 0, 5, 0, 0}, {"acquire", "r", "b", "held", 10, 20, 6, 0},
				{"acquire", "r", "a", "granted", 30, 40, 7, 100}}, "", "",
		},
		"an unknown acquire that did not": {
			[]operation{{"acquire", "r", "z", "unknown", 0, 5, 0, 0}, a}, "", "",
		},
		"an unknown acquire that happened inside another's lease": {
			[]operation{a, {"acquire", "r", "z", "unknown", 20, 25, 0, 0}, {"acquire", "r", "b", "held", 30, 40, 8, 0}}, "", broken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for exclusive, wanted := range map[bool]string{false: test.fenced, true: test.excluded} {
				var said strings.Builder
				judge(&said, map[string][]operation{"r": test.history}, exclusive, time.Minute)
				if (said.Len() == 0) != (wanted == "") || !strings.Contains(said.String(), wanted) {
					t.Errorf("exclusive %v: said %q, wanted %q", exclusive, said.String(), wanted)
				}
			}
		})
	}
}

// A run of the size of a fault test is judged in well under the time limit, whole and with one token repeated.
func TestALongHistory(t *testing.T) {
	var history []operation
	for turn := range int64(2000) {
		at := turn * 100
		history = append(history,
			operation{"acquire", "r", "w", "granted", at - 4000, at + 50, turn + 1, at + 9000},
			operation{"release", "r", "w", "released", at + 60, at + 90, turn + 1, 0},
			operation{"acquire", "r", "w", "held", at + 50, at + 55, turn + 1, 0})
	}
	for _, wanted := range []string{"", broken} {
		var said strings.Builder
		judge(&said, map[string][]operation{"r": history}, true, time.Minute)
		if (said.Len() == 0) != (wanted == "") || !strings.Contains(said.String(), wanted) {
			t.Errorf("said %q, wanted %q", said.String(), wanted)
		}
		history[3*1000].Token = 1000
	}
}

// Calls that all wait at once may be granted in any order: the checker must not try every choice of them.
func TestManyCallsAtOneTime(t *testing.T) {
	var history []operation
	for turn := range int64(400) {
		history = append(history,
			operation{"acquire", "r", "w", "granted", turn, 1000 + turn, 1 + (turn*7)%400, 2000},
			operation{"release", "r", "w", "released", 500 + turn, 1500 + turn, 1 + (turn*7)%400, 0})
	}
	for _, wanted := range []string{"", broken} {
		var said strings.Builder
		judge(&said, map[string][]operation{"r": history}, false, 10*time.Second)
		if (said.Len() == 0) != (wanted == "") || !strings.Contains(said.String(), wanted) {
			t.Errorf("said %q, wanted %q", said.String(), wanted)
		}
		history[2*200].Token = 7
	}
}
