package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/anishathalye/porcupine"
)

// An operation is one line of a history; calls that repeat a request have been made one.
type operation struct {
	Kind     string `json:"kind"`
	Key      string `json:"key"`
	Owner    string `json:"owner"`
	Outcome  string `json:"outcome"`
	Started  int64  `json:"started_ns"`
	Ended    int64  `json:"ended_ns"`
	Token    int64  `json:"token"`
	Deadline int64  `json:"deadline_ns"`
}

// read returns the operations of each resource.
func read(lines io.Reader) (map[string][]operation, error) {
	found := map[string][]operation{}
	decoder := json.NewDecoder(lines)
	for {
		var one operation
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the history cannot be read: %w", err)
		}
		if one.Kind != "dedupe" {
			found[one.Key] = append(found[one.Key], one)
		}
	}
}

// steps returns what the model of one resource has to explain.
func steps(history []operation) []step {
	stopped := map[int64]int64{}
	for _, one := range history {
		if one.Kind == "release" && one.Outcome == "unknown" {
			stopped[one.Token] = one.Started
		}
	}
	var found []step
	for _, one := range history {
		taken, matters := verbs[one.Kind+" "+one.Outcome]
		if !matters || one.Token == 0 {
			continue
		}
		deadline := one.Deadline
		if stop, is := stopped[one.Token]; is {
			deadline = min(deadline, stop)
		}
		found = append(found, step{taken, one.Token, deadline, one.Started, one.Ended, one.Owner, 0})
	}
	return ordered(append(found, unheard(history, found)...))
}

// ordered puts grants first, by token, and tells each the token before it.
func ordered(taken []step) []step {
	slices.SortStableFunc(taken, func(one, two step) int { return cmp.Compare(one.token, two.token) })
	grants := grantsOf(taken)
	for place := range grants[min(1, len(grants)):] {
		grants[place+1].previous = grants[place].token
	}
	others := slices.DeleteFunc(taken, func(one step) bool { return one.verb == granted })
	return append(grants, others...)
}

func grantsOf(taken []step) []step {
	return slices.DeleteFunc(slices.Clone(taken), func(one step) bool { return one.verb != granted })
}

var verbs = map[string]verb{
	"acquire granted":  granted,
	"acquire held":     seen,
	"renew renewed":    renewed,
	"renew not_held":   lost,
	"release released": released,
	"release not_held": lost,
}

// unheard returns the grants that others saw and nobody was told.
func unheard(history []operation, told []step) []step {
	var askers []int64
	for _, one := range history {
		if one.Kind == "acquire" && one.Outcome != "granted" {
			askers = append(askers, one.Started)
		}
	}
	known := map[int64]bool{}
	first := map[int64]int64{}
	for _, one := range told {
		known[one.token] = known[one.token] || one.verb == granted
		if one.verb == seen {
			if ended, is := first[one.token]; !is || one.ended < ended {
				first[one.token] = one.ended
			}
		}
	}
	var found []step
	for token, ended := range first {
		if !known[token] && len(askers) > 0 && slices.Min(askers) <= ended {
			found = append(found, step{granted, token, 0, slices.Min(askers), ended, "somebody", 0})
		}
	}
	slices.SortFunc(found, func(one, two step) int { return cmp.Compare(one.token, two.token) })
	return found[:min(len(found), len(askers))]
}

// forPorcupine puts steps into the checker's form.
func forPorcupine(taken []step) []porcupine.Operation {
	found := make([]porcupine.Operation, len(taken))
	for place, one := range taken {
		found[place] = porcupine.Operation{ClientId: place, Input: one, Call: one.started, Return: one.ended}
	}
	return found
}
