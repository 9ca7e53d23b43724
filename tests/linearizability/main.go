// Command linearizability reads a history, JSON lines on standard input, and prints a line for each resource
// whose calls cannot be put in an order that a fenced mutex could have had. See model.go for what that means.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

func main() {
	exclusive := flag.Bool("exclusive", false, "check that nobody is granted what another may still hold")
	timeout := flag.Duration("timeout", 30*time.Second, "for one resource")
	flag.Parse()
	history, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	judge(os.Stdout, history, *exclusive, *timeout)
}

func judge(to io.Writer, history map[string][]operation, exclusive bool, timeout time.Duration) {
	model := fencedMutex(exclusive)
	for _, resource := range slices.Sorted(maps.Keys(history)) {
		toExplain := steps(history[resource])
		if !exclusive {
			toExplain = grantsOf(toExplain)
		}
		taken := forPorcupine(toExplain)
		switch porcupine.CheckOperationsTimeout(model, taken, timeout) {
		case porcupine.Ok:
		case porcupine.Unknown:
			fmt.Fprintf(to, "%s: %d operations could not be judged within %s\n", resource, len(taken), timeout)
		case porcupine.Illegal:
			fmt.Fprintf(to, "%s: %s\n", resource, explain(model, taken, timeout))
		}
	}
}

// explain names the operation that has no place after the longest order that was found.
func explain(model porcupine.Model, taken []porcupine.Operation, timeout time.Duration) string {
	_, info := porcupine.CheckOperationsVerbose(model, taken, timeout)
	var longest []int
	for _, order := range info.PartialLinearizations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	stuck := step{ended: 1<<63 - 1}
	for place, one := range taken {
		if left := one.Input.(step); !slices.Contains(longest, place) && left.ended < stuck.ended {
			stuck = left
		}
	}
	return fmt.Sprintf("after %d of %d operations there is no place for %s's %s %d",
		len(longest), len(taken), stuck.who, stuck.verb, stuck.token)
}
