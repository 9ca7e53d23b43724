// Dedupe processes webhooks that arrive twice: queued first, deduplicated where the work is done. The receiver only puts
// the event on a queue that survives a crash, and answers 200 even when lockservice is down. Here a slice stands for it.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"time"

	lockservice "lockservice.dev/clients/go"
)

type event struct{ webhook, body string }

// process charges once, however often the event comes; a crash before the end leaves it to be done again.
func process(ctx context.Context, client *lockservice.Client, e event) (string, error) {
	hash := sha256.Sum256([]byte(e.body))
	charged := "charged " + e.body
	err := client.Once(ctx, "shopify:"+e.webhook, func(_ context.Context, claim *lockservice.Claim) error {
		claim.Result = []byte(charged)
		return nil
	}, lockservice.TTL(30*time.Second), lockservice.Wait(5*time.Second), lockservice.Fingerprint(hash[:]))
	var duplicate *lockservice.DuplicateError
	switch {
	case errors.As(err, &duplicate):
		return "duplicate of: " + string(duplicate.Result), nil
	case errors.Is(err, lockservice.ErrInProgress):
		return "left on the queue", nil
	}
	return charged, err
}

func main() {
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, e := range []event{{"dedupe-go", "12 EUR"}, {"dedupe-go", "12 EUR"}} {
		said, err := process(context.Background(), client, e)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(said)
	}
}
