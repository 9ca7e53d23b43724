package tests

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	lockservice "lockservice.dev/clients/go"
	pb "lockservice.dev/clients/go/lockservicev1"
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
			time.Sleep(200 * time.Millisecond)
			again := must(client.Acquire(ctx, resource, options...))(t)
			again.Close()
		} else {
			until(t, "it is given back", time.Second, func() bool { return !isHeld(t, stub, resource) })
		}
	}
}

func TestS06Renewal(t *testing.T) {
	client, resource := connect(t, lockservice.Address(common(t).address())), fresh()
	lease := must(client.Acquire(ctx, resource, lockservice.TTL(400*time.Millisecond)))(t)
	for range 8 {
		time.Sleep(200 * time.Millisecond)
		if err := lease.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Acquire(ctx, resource); !errors.Is(err, lockservice.ErrHeld) {
			t.Fatal(err)
		}
	}
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestS07AReleaseBesideManyWaiters(t *testing.T) {
	address := common(t).address()
	stub, far := admin(t, address), between(t, address)
	for _, options := range [][]lockservice.Option{{}, {lockservice.Unary()}} {
		client := connect(t, append(options, lockservice.Address(far.Address))...)
		resource := fresh()
		lease := must(client.Acquire(ctx, resource))(t)
		var all sync.WaitGroup
		for range 200 {
			all.Add(1)
			go func() {
				defer all.Done()
				if got, err := client.Acquire(ctx, resource, lockservice.Wait(3*time.Second), lockservice.TTL(100*time.Millisecond)); err == nil {
					got.Close()
				}
			}()
		}
		// As many as the proxy lets through on that connection.
		until(t, "they wait", 5*time.Second, func() bool { return queueLength(t, stub, resource) >= 90 })
		began := time.Now()
		if err := lease.Done(ctx); err != nil || time.Since(began) > time.Second {
			t.Fatal(err, time.Since(began))
		}
		all.Wait()
	}
}

func TestS08TheHolderHearsBeforeTheEnd(t *testing.T) {
	own := start(t, 1, "")
	client := connect(t, lockservice.Address(own.address()))
	const ttl = 1500 * time.Millisecond
	lease := must(client.Acquire(ctx, fresh(), lockservice.TTL(ttl)))(t)
	began := time.Now()
	own.act(t, 0, "freeze")
	<-lease.Context().Done()
	took := time.Since(began)
	own.act(t, 0, "thaw")
	if !errors.Is(context.Cause(lease.Context()), lockservice.ErrLeaseLost) || !errors.Is(lease.Check(), lockservice.ErrLeaseLost) {
		t.Fatal(context.Cause(lease.Context()))
	}
	if took > ttl || took < ttl/2 {
		t.Fatal(took)
	}
}

func TestS09ForceIsALoss(t *testing.T) {
	address := common(t).address()
	client, resource := connect(t, lockservice.Address(address)), fresh()
	began := time.Now()
	err := client.Do(ctx, resource, func(working context.Context, lease *lockservice.Lease) error {
		request := &pb.ForceReleaseRequest{Resource: resource, FencingToken: lease.FencingToken, Reason: "a test"}
		if _, err := admin(t, address).ForceRelease(ctx, request); err != nil {
			return err
		}
		<-working.Done()
		return working.Err()
	}, lockservice.TTL(900*time.Millisecond))
	if !errors.Is(err, lockservice.ErrLeaseLost) || time.Since(began) > 900*time.Millisecond {
		t.Fatal(err, time.Since(began))
	}
}

// TestS10Holder is the process that TestS10AStoppedProcess stops.
func TestS10Holder(t *testing.T) {
	resource := os.Getenv("S10_RESOURCE")
	if resource == "" {
		return
	}
	client := connect(t, lockservice.Address(os.Getenv("S10_ADDRESS")))
	lease := must(client.Acquire(ctx, resource, lockservice.TTL(1200*time.Millisecond)))(t)
	_, _ = os.Stdout.WriteString("holds\n")
	<-lease.Context().Done()
	_, _ = os.Stdout.WriteString("lost\n")
	_ = os.Stdout.Sync()
	time.Sleep(time.Minute)
}

func TestS10AStoppedProcess(t *testing.T) {
	address, resource := common(t).address(), fresh()
	client, far := connect(t, lockservice.Address(address)), between(t, address)
	command := exec.Command(os.Args[0], "-test.run=^TestS10Holder$")
	command.Env = append(os.Environ(), "S10_RESOURCE="+resource, "S10_ADDRESS="+far.Address)
	out, _ := command.StdoutPipe()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "holds" {
	}
	_ = command.Process.Signal(syscall.SIGSTOP)
	// Once another is granted, its lease has ended.
	lease := must(client.Acquire(ctx, resource, lockservice.Wait(10*time.Second)))(t)
	defer lease.Close()
	before := len(far.calls(t, "Renew"))
	woken := time.Now()
	_ = command.Process.Signal(syscall.SIGCONT)
	for lines.Scan() && lines.Text() != "lost" {
	}
	if took := time.Since(woken); took > 100*time.Millisecond {
		t.Fatal(took)
	}
	if len(far.calls(t, "Renew")) != before {
		t.Fatal("it has renewed before it told")
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

func TestS16ALateGrant(t *testing.T) {
	address := common(t).address()
	stub, far := admin(t, address), between(t, address)
	client := connect(t, lockservice.Address(far.Address))
	take := func(resource string, ttl time.Duration) chan error {
		told := make(chan error)
		go func() {
			lease, err := client.Acquire(ctx, resource, lockservice.TTL(ttl))
			if err == nil {
				if lease.Remaining() < ttl*2/3 {
					err = errors.New("it was not renewed")
				}
				lease.Close()
			}
			told <- err
		}()
		until(t, "it is granted", 5*time.Second, func() bool { return isHeld(t, stub, resource) })
		return told
	}
	kept, gone := fresh(), fresh()
	far.fault(t, "hold", "Acquire", 1)
	told := take(kept, 3*time.Second)
	time.Sleep(1200 * time.Millisecond)
	far.letGo(t)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	far.fault(t, "hold", "Acquire", 1)
	told = take(gone, 300*time.Millisecond)
	until(t, "it has ended", 5*time.Second, func() bool { return !isHeld(t, stub, gone) })
	far.letGo(t)
	if err := <-told; !errors.Is(err, lockservice.ErrLeaseLost) {
		t.Fatal(err)
	}
}
