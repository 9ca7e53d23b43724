// Basic takes a lease on an order, works, and lets the store refuse a holder that was too slow.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	lockservice "lockservice.dev/clients/go"
)

type row struct {
	state string
	fence int64
}

var store = map[string]row{"basic-go": {"paid", 0}}

// write writes unless a later holder has written: no lease can stop a worker that paused past its end, this does.
func write(order, state string, fence int64) bool {
	if fence < store[order].fence {
		return false
	}
	store[order] = row{state, fence}
	return true
}

func main() {
	ctx := context.Background()
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var last int64
	err = client.Do(ctx, "order:basic-go", func(ctx context.Context, lease *lockservice.Lease) error {
		if _, err := client.Acquire(ctx, "order:basic-go"); errors.Is(err, lockservice.ErrHeld) {
			fmt.Println("another worker is told:", err)
		}
		last = lease.FencingToken
		write("basic-go", "packed", last)
		return nil
	}, lockservice.TTL(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	if write("basic-go", "lost update", last-1) {
		log.Fatal("the store took an old token")
	}
	fmt.Println("packed", store["basic-go"].state)
}
