// Ordered has an update that arrives before its create wait for it, and drops an older update after a newer one. The
// events stand on a durable queue already; EventID deduplicates them where the work is done.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	lockservice "lockservice.dev/clients/go"
)

// process applies an event in its order; needs is the version that must be completed before it, 0: none.
func process(client *lockservice.Client, id string, version, needs int64) string {
	options := []lockservice.CallOption{
		lockservice.Wait(10 * time.Second), lockservice.Version(version), lockservice.EventID(id),
	}
	if needs > 0 {
		options = append(options, lockservice.AfterVersion(needs))
	}
	how := "applied"
	err := client.Do(context.Background(), "order:ordered-go", func(_ context.Context, lease *lockservice.Lease) error {
		if lease.Tie {
			how = "fetched afresh and applied"
		}
		return nil
	}, options...)
	switch {
	case errors.Is(err, lockservice.ErrDuplicate):
		how = "done before"
	case errors.Is(err, lockservice.ErrStale):
		how = "a newer one was applied"
	case errors.Is(err, lockservice.ErrEarly):
		how = "back to the queue, what it needs has not come"
	case err != nil:
		log.Fatal(err)
	}
	return id + ": " + how
}

func main() {
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	update := make(chan string)
	go func() { update <- process(client, "update", 2, 1) }()
	time.Sleep(100 * time.Millisecond)
	fmt.Println(process(client, "create", 1, 0))
	fmt.Println(<-update)
	fmt.Println(process(client, "create again", 1, 0))
	fmt.Println(process(client, "update", 2, 0))
	fmt.Println(process(client, "same instant", 2, 0))
}
