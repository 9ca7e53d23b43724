package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const onHand = 100_000

// document is what the books have of an order.
type document struct {
	GID      string                     `json:"gid"`
	Number   int64                      `json:"number"`
	Version  int64                      `json:"version"`
	States   []string                   `json:"states"`
	Order    map[string]json.RawMessage `json:"order"`
	Added    int                        `json:"added"`
	Refunded int64                      `json:"refunded"`
	Applied  []string                   `json:"applied"`
}

func newDocument(gid string, number int64) *document {
	return &document{GID: gid, Number: number, States: []string{}, Order: map[string]json.RawMessage{}, Applied: []string{}}
}

func (d *document) has(e *event) bool {
	return slices.Contains(d.Applied, e.key) || (!e.delta && e.version < d.Version)
}

// isTie says whether there is another whole order of the same instant: nobody can tell which is newer.
func (d *document) isTie(e *event) bool {
	return !e.delta && e.version == d.Version
}

// apply changes the document as an event says; fresh, if any, is the order as the shop answers when it is asked.
func (d *document) apply(e *event, fresh map[string]json.RawMessage) {
	d.Applied = append(d.Applied, e.key)
	if e.delta {
		d.Added += e.added
		d.Refunded += e.refunded
		return
	}
	d.Order, d.Version = e.order, e.version
	if fresh != nil {
		d.Order = fresh
	}
	gone := states(d.Order)
	switch {
	case len(d.States) <= len(gone) && slices.Equal(gone[:len(d.States)], d.States):
		d.States = gone
	case d.States[len(d.States)-1] != gone[len(gone)-1]:
		d.States = append(d.States, gone[len(gone)-1])
	}
}

// states lists what an order has gone through when it looks like this.
func states(order map[string]json.RawMessage) []string {
	text := func(field string) (found string) {
		_ = json.Unmarshal(order[field], &found)
		return found
	}
	gone := []string{"created"}
	if slices.Contains([]string{"paid", "partially_refunded", "refunded"}, text("financial_status")) {
		gone = append(gone, "paid")
	}
	if text("fulfillment_status") == "fulfilled" {
		gone = append(gone, "fulfilled")
	}
	if text("cancelled_at") != "" {
		gone = append(gone, "cancelled")
	}
	return gone
}

// stock is what is on hand of a variant, and which movement led to it.
type stock struct {
	OnHand int    `json:"on_hand"`
	Moves  string `json:"moves"`
}

func newStock() *stock { return &stock{OnHand: onHand, Moves: ";"} }

// move moves pieces in or out under a name, and says whether that was new.
func (s *stock) move(name string, count int) bool {
	if strings.Contains(s.Moves, ";"+name+":") {
		return false
	}
	s.OnHand += count
	s.Moves += fmt.Sprintf("%s:%d;", name, count)
	return true
}
