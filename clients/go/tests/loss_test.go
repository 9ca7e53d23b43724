package tests

import (
	"bufio"
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
	stub := admin(t, address)
	for _, how := range []string{"in a session", "unary", "without sessions"} {
		far, resource := between(t, address), fresh()
		options := []lockservice.Option{lockservice.Address(far.Address)}
		switch how {
		case "unary":
			options = append(options, lockservice.Unary())
		case "without sessions":
			far.fault(t, "no_sessions", "Session", 1)
		}
		client := connect(t, options...)
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
			t.Fatal(how, err, time.Since(began))
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
