package tests

import (
	"context"
	"sync"
	"testing"
	"time"

	lockservice "lockservice.dev/clients/go"
)

// As many acquires as are open on a stream at most.
const streamful = 9_000

func TestS07AStreamFullOfWaitersHasRoomForARenewalAndARelease(t *testing.T) {
	far := quietly(t)
	client := connect(t, lockservice.Address(far.address))
	lease := must(client.Acquire(ctx, fresh(), lockservice.TTL(3*time.Second)))(t)
	waiting, leave := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer leave()
	for range streamful + 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			_, _ = client.Acquire(waiting, fresh(), lockservice.Wait(time.Minute))
		}()
	}
	until(t, "they wait", 10*time.Second, func() bool { return far.waiting.Load() == streamful })
	// The stream is full: no other acquire is sent.
	time.Sleep(100 * time.Millisecond)
	if got := far.waiting.Load(); got != streamful {
		t.Fatal(got)
	}
	before := lease.Remaining()
	until(t, "it is renewed", 2*time.Second, func() bool { return lease.Remaining() > before })
	began := time.Now()
	if err := lease.Done(ctx); err != nil || time.Since(began) > time.Second {
		t.Fatal(err, time.Since(began))
	}
}

func TestS07ALateRenewalTakesNoWaiterAlong(t *testing.T) {
	address := common(t).address()
	far, stub := between(t, address), admin(t, address)
	client, resource := connect(t, lockservice.Address(far.Address)), fresh()
	far.fault(t, "hold", "Renew", 1)
	defer far.letGo(t)
	lease := must(client.Acquire(ctx, resource, lockservice.TTL(3*time.Second)))(t)
	told := make(chan error)
	go func() { told <- client.Do(ctx, resource, nothing, lockservice.Wait(20*time.Second)) }()
	until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == 1 })
	until(t, "it is renewed on another stream", 3*time.Second, func() bool {
		return len(far.calls(t, "Renew")) > 1 && far.seen(t).Streams > 1 && lease.Remaining() > 2*time.Second
	})
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil || len(far.calls(t, "Acquire")) != 2 {
		t.Fatal(err, len(far.calls(t, "Acquire")))
	}
}

func TestS33AReleaseAndAnAcquireShareAStream(t *testing.T) {
	far := between(t, common(t).address())
	client := connect(t, lockservice.Address(far.Address))
	lease := must(client.Acquire(ctx, fresh()))(t)
	const turns = 20
	for range turns {
		told, ended := make(chan *lockservice.Lease), lease
		go func() {
			next, err := client.Acquire(ctx, fresh())
			if err != nil {
				t.Error(err)
			}
			told <- next
		}()
		if err := ended.Done(ctx); err != nil {
			t.Fatal(err)
		}
		if lease = <-told; lease == nil {
			return
		}
	}
	// Messages of their own would be 1 + 2 * turns.
	if got := far.seen(t); got.Streams != 1 || got.Frames > 2*turns {
		t.Fatal(got.Streams, got.Frames)
	}
}

func TestS07ASecondConnectionIsMadeWhenItIsNeeded(t *testing.T) {
	address := common(t).address()
	without := between(t, address)
	without.fault(t, "no_sessions", "Session", 1)
	for _, want := range []struct {
		name, address string
		options       []lockservice.Option
		result, made  int
		refused       bool
	}{
		{"in a session", address, nil, 1, 1, false},
		{"too large for a session", address, nil, 1 << 17, 2, true},
		{"unary", address, []lockservice.Option{lockservice.Unary()}, 1, 2, false},
		{"without sessions", without.Address, nil, 1, 2, false},
	} {
		far := counting(t, want.address)
		client := connect(t, append(want.options, lockservice.Address(far.address))...)
		lease := must(client.Acquire(ctx, fresh(), lockservice.TTL(1500*time.Millisecond)))(t)
		if _, err := client.First(ctx, fresh()); err != nil || far.made.Load() != 1 {
			t.Fatal(want.name, err, far.made.Load())
		}
		err := client.Once(ctx, fresh(), func(_ context.Context, claim *lockservice.Claim) error {
			time.Sleep(600 * time.Millisecond)
			claim.Result = make([]byte, want.result)
			return nil
		}, lockservice.TTL(1500*time.Millisecond))
		if (err != nil) != want.refused {
			t.Fatal(want.name, err)
		}
		if err := lease.Done(ctx); err != nil || far.made.Load() != int64(want.made) {
			t.Fatal(want.name, err, far.made.Load())
		}
		client.Close()
		until(t, "all are closed", time.Second, func() bool { return far.open.Load() == 0 })
	}
}
