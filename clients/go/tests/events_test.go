package tests

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lockservice "lockservice.dev/clients/go"
)

func TestS17OneOfTen(t *testing.T) {
	client, key := connect(t, lockservice.Address(common(t).address())), fresh()
	var first atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Add(1)
		go func() {
			defer all.Done()
			if must(client.First(ctx, key))(t) {
				first.Add(1)
			}
		}()
	}
	all.Wait()
	if first.Load() != 1 {
		t.Fatal(first.Load())
	}
}

func process(context.Context, *lockservice.Claim) error { return nil }

func TestS18TwoPhases(t *testing.T) {
	client, key := connect(t, lockservice.Address(common(t).address())), fresh()
	waited := make(chan error)
	err := client.Once(ctx, key, func(_ context.Context, claim *lockservice.Claim) error {
		var busy *lockservice.InProgressError
		if err := client.Once(ctx, key, process); !errors.As(err, &busy) || busy.RetryAfter < 18*time.Second {
			t.Error(err)
		}
		go func() { waited <- client.Once(ctx, key, process, lockservice.Wait(10*time.Second)) }()
		claim.Result = []byte("receipt 7")
		return nil
	}, lockservice.TTL(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var duplicate *lockservice.DuplicateError
	if err := <-waited; !errors.As(err, &duplicate) || string(duplicate.Result) != "receipt 7" {
		t.Fatal(err)
	}
}

func TestS19Claims(t *testing.T) {
	client, key := connect(t, lockservice.Address(common(t).address())), fresh()
	one, two := lockservice.Fingerprint([]byte("one")), lockservice.Fingerprint([]byte("two"))
	no := errors.New("no")
	if err := client.Once(ctx, key, func(context.Context, *lockservice.Claim) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	err := client.Once(ctx, key, func(_ context.Context, claim *lockservice.Claim) error {
		time.Sleep(1200 * time.Millisecond)
		if err := client.Once(ctx, key, process, one); !errors.Is(err, lockservice.ErrInProgress) {
			t.Error(err)
		}
		return claim.Check()
	}, lockservice.TTL(400*time.Millisecond), one)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Once(ctx, key, process, two); !errors.Is(err, lockservice.ErrMismatch) {
		t.Fatal(err)
	}
}

func TestS20ALostReplyLeavesFirstFirst(t *testing.T) {
	far := between(t, common(t).address())
	client := connect(t, lockservice.Address(far.Address))
	far.fault(t, "lose_reply", "Dedupe", 1)
	if !must(client.First(ctx, fresh()))(t) || len(far.calls(t, "Dedupe")) != 2 {
		t.Fatal(far.calls(t, "Dedupe"))
	}
}

func TestS21Deliveries(t *testing.T) {
	text := must(os.ReadFile("../../deliveries.json"))(t)
	var vectors struct {
		Deliveries []struct {
			Name, Body, Resource string
			Headers              map[string]string
			EventKey             string `json:"event_key"`
			Version              *int64
		}
		Refused []struct {
			Name, Body, Says string
			Headers          map[string]string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	header := func(named map[string]string) http.Header {
		made := http.Header{}
		for name, text := range named {
			made[name] = []string{text}
		}
		return made
	}
	for _, v := range vectors.Deliveries {
		got, err := lockservice.ShopifyDelivery(header(v.Headers), []byte(v.Body))
		same := (got.Version == nil) == (v.Version == nil) && (v.Version == nil || *got.Version == *v.Version)
		if err != nil || got.EventKey != v.EventKey || got.Resource != v.Resource || !same {
			t.Error(v.Name, got, err)
		}
	}
	for _, v := range vectors.Refused {
		if _, err := lockservice.ShopifyDelivery(header(v.Headers), []byte(v.Body)); err == nil || !strings.Contains(err.Error(), v.Says) {
			t.Error(v.Name, err)
		}
	}
}
