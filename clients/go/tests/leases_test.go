package tests

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	lockservice "lockservice.dev/clients/go"
)

var ctx = context.Background()

func nothing(context.Context, *lockservice.Lease) error { return nil }

func TestS01Grant(t *testing.T) {
	client, resource := connect(t, lockservice.Address(common(t).address())), fresh()
	var tokens []int64
	for range 2 {
		lease := must(client.Acquire(ctx, resource))(t)
		tokens = append(tokens, lease.FencingToken)
		if err := lease.Done(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if tokens[0] <= 0 || tokens[1] <= tokens[0] {
		t.Fatal(tokens)
	}
}

func TestS02HeldNamesTheHolder(t *testing.T) {
	address := common(t).address()
	client, resource := connect(t, lockservice.Address(address)), fresh()
	other := connect(t, lockservice.Address(address), lockservice.Owner("the other"))
	lease := must(other.Acquire(ctx, resource))(t)
	defer lease.Close()
	_, err := client.Acquire(ctx, resource)
	var held *lockservice.HeldError
	if !errors.Is(err, lockservice.ErrHeld) || !errors.As(err, &held) {
		t.Fatal(err)
	}
	by := held.Holder
	if by.Owner != "the other" || by.FencingToken != lease.FencingToken || by.Remaining < 8*time.Second || by.Remaining > 10*time.Second {
		t.Fatal(by)
	}
}

func TestS03FirstComeFirstServed(t *testing.T) {
	address := common(t).address()
	client, stub, resource := connect(t, lockservice.Address(address)), admin(t, address), fresh()
	lease := must(client.Acquire(ctx, resource, lockservice.TTL(30*time.Second)))(t)
	var order []int
	var all sync.WaitGroup
	for number := range 3 {
		all.Add(1)
		go func() {
			defer all.Done()
			err := client.Do(ctx, resource, func(context.Context, *lockservice.Lease) error {
				order = append(order, number)
				return nil
			}, lockservice.Wait(10*time.Second))
			if err != nil {
				t.Error(err)
			}
		}()
		until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == number+1 })
	}
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
		t.Fatal(order)
	}
}

func TestS04AWaitThatIsOver(t *testing.T) {
	address := common(t).address()
	client, resource := connect(t, lockservice.Address(address)), fresh()
	lease := must(client.Acquire(ctx, resource))(t)
	defer lease.Close()
	began := time.Now()
	_, err := client.Acquire(ctx, resource, lockservice.Wait(300*time.Millisecond))
	if took := time.Since(began); !errors.Is(err, lockservice.ErrHeld) || took < 295*time.Millisecond || took > time.Second {
		t.Fatal(err, took)
	}
	if queueLength(t, admin(t, address), resource) != 0 {
		t.Fatal("it still waits")
	}
}

func TestS05CancelLeavesTheQueue(t *testing.T) {
	address := common(t).address()
	client, stub, resource := connect(t, lockservice.Address(address)), admin(t, address), fresh()
	lease := must(client.Acquire(ctx, resource))(t)
	defer lease.Close()
	leaving, cancel := context.WithCancel(ctx)
	told := make(chan error)
	go func() {
		_, err := client.Acquire(leaving, resource, lockservice.Wait(20*time.Second))
		told <- err
	}()
	until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == 1 })
	cancel()
	if err := <-told; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	until(t, "it has left", time.Second, func() bool { return queueLength(t, stub, resource) == 0 })
}

func TestS05AGrantThatCrossesTheCancellation(t *testing.T) {
	address := common(t).address()
	stub, far := admin(t, address), between(t, address)
	client := connect(t, lockservice.Address(far.Address))
	for _, named := range []bool{false, true} {
		resource := fresh()
		options := []lockservice.CallOption{lockservice.TTL(3 * time.Second)}
		if named {
			options = append(options, lockservice.RequestID("mine"))
		}
		far.fault(t, "hold", "Acquire", 1)
		leaving, cancel := context.WithCancel(ctx)
		told := make(chan error)
		go func() {
			_, err := client.Acquire(leaving, resource, options...)
			told <- err
		}()
		until(t, "it is granted", 5*time.Second, func() bool { return isHeld(t, stub, resource) })
		cancel()
		<-told
		far.letGo(t)
		if named {
			_, err := connect(t, lockservice.Address(address)).Acquire(ctx, resource, lockservice.Wait(500*time.Millisecond))
			if !errors.Is(err, lockservice.ErrHeld) {
				t.Fatal(err)
			}
			again := must(client.Acquire(ctx, resource, options...))(t)
			again.Close()
		} else {
			until(t, "it is given back", time.Second, func() bool { return !isHeld(t, stub, resource) })
		}
	}
}

func TestS11ALostReply(t *testing.T) {
	far := between(t, common(t).address())
	for _, options := range [][]lockservice.Option{{}, {lockservice.Unary()}} {
		client := connect(t, append(options, lockservice.Address(far.Address))...)
		already := len(far.calls(t, "Acquire"))
		far.fault(t, "lose_reply", "Acquire", 1)
		lease := must(client.Acquire(ctx, fresh()))(t)
		lease.Close()
		calls := far.calls(t, "Acquire")[already:]
		if len(calls) != 2 || !bytes.Equal(calls[0].bytes(), calls[1].bytes()) {
			t.Fatal(calls)
		}
		// Without a request id the repetition is refused.
		far.fault(t, "lose_reply", "Acquire", 1)
		if _, err := client.Acquire(ctx, fresh(), lockservice.RequestID("")); !errors.Is(err, lockservice.ErrHeld) {
			t.Fatal(err)
		}
	}
}

func TestS12DoneAndRetry(t *testing.T) {
	client, resource := connect(t, lockservice.Address(common(t).address())), fresh()
	event, out := lockservice.EventID("e-1"), errors.New("no stock")
	err := client.Do(ctx, resource, func(context.Context, *lockservice.Lease) error { return out }, event)
	if !errors.Is(err, out) {
		t.Fatal(err)
	}
	if err := client.Do(ctx, resource, nothing, event); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(ctx, resource, nothing, event); !errors.Is(err, lockservice.ErrDuplicate) {
		t.Fatal(err)
	}
}

func TestS12AHold(t *testing.T) {
	client, event := connect(t, lockservice.Address(common(t).address())), lockservice.EventID("e-1")
	for _, byOption := range []bool{true, false} {
		resource := fresh()
		_ = client.Do(ctx, resource, func(ctx context.Context, lease *lockservice.Lease) error {
			if byOption {
				return errors.New("later")
			}
			return lease.Retry(ctx, 20*time.Second)
		}, event, lockservice.RetryHold(20*time.Second))
		if _, err := client.Acquire(ctx, resource, lockservice.EventID("e-2")); !errors.Is(err, lockservice.ErrHeld) {
			t.Fatal(err)
		}
		must(client.Acquire(ctx, resource, event))(t).Close()
	}
}

func TestS13AScopeThatEnds(t *testing.T) {
	client, resource, event := connect(t, lockservice.Address(common(t).address())), fresh(), lockservice.EventID("e-1")
	must(client.Acquire(ctx, resource, event))(t).Close()
	func() {
		defer func() { _ = recover() }()
		_ = client.Do(ctx, resource, func(context.Context, *lockservice.Lease) error { panic("broken off") }, event)
	}()
	lease := must(client.Acquire(ctx, resource, event))(t)
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	lease.Close()
	if _, err := client.Acquire(ctx, resource, event); !errors.Is(err, lockservice.ErrDuplicate) {
		t.Fatal(err)
	}
}

func TestS14Refusals(t *testing.T) {
	client, resource := connect(t, lockservice.Address(common(t).address())), fresh()
	if err := client.Do(ctx, resource, nothing, lockservice.Version(7), lockservice.EventID("e-7")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		is     error
		option lockservice.CallOption
	}{
		{lockservice.ErrStale, lockservice.Version(6)},
		{lockservice.ErrEarly, lockservice.AfterVersion(8)},
		{lockservice.ErrDuplicate, lockservice.EventID("e-7")},
	} {
		_, err := client.Acquire(ctx, resource, want.option)
		if !errors.Is(err, want.is) {
			t.Fatal(err, want.is)
		}
		var version *lockservice.VersionError
		if errors.As(err, &version) && version.CompletedVersion != 7 {
			t.Fatal(version)
		}
	}
}

func TestS15Versions(t *testing.T) {
	client, resource := connect(t, lockservice.Address(common(t).address())), fresh()
	order := make(chan int64, 2)
	note := func(_ context.Context, lease *lockservice.Lease) error {
		order <- lease.CompletedVersion
		return nil
	}
	told := make(chan error)
	go func() {
		told <- client.Do(ctx, resource, note, lockservice.Version(2), lockservice.AfterVersion(1), lockservice.Wait(10*time.Second))
	}()
	if err := client.Do(ctx, resource, note, lockservice.Version(1), lockservice.Wait(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	if first, second := <-order, <-order; first != -1 || second != 1 {
		t.Fatal(first, second)
	}
	stale := must(client.Acquire(ctx, resource, lockservice.Version(1), lockservice.AllowStale()))(t)
	stale.Close()
	tie := must(client.Acquire(ctx, resource, lockservice.Version(2)))(t)
	tie.Close()
	if stale.Tie || !tie.Tie {
		t.Fatal(stale.Tie, tie.Tie)
	}
}
