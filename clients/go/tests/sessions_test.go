package tests

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	lockservice "lockservice.dev/clients/go"
)

func TestS32AClosedClient(t *testing.T) {
	address := common(t).address()
	stub, resource := admin(t, address), fresh()
	queueLength(t, stub, resource)
	before := goleak.IgnoreCurrent()
	for range 20 {
		client := must(lockservice.New(lockservice.Address(address)))(t)
		lease := must(client.Acquire(ctx, resource, lockservice.Wait(5*time.Second)))(t)
		told := make(chan error)
		go func() {
			_, err := client.Acquire(ctx, resource, lockservice.Wait(20*time.Second))
			told <- err
		}()
		until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == 1 })
		if err := lease.Retry(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := client.Acquire(ctx, resource, lockservice.Wait(20*time.Second))
			told <- err
		}()
		until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == 1 })
		client.Close()
		if err := <-told; !errors.Is(err, lockservice.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := client.Acquire(ctx, fresh()); !errors.Is(err, lockservice.ErrClosed) {
			t.Fatal(err)
		}
		resource = fresh()
	}
	goleak.VerifyNone(t, before)
}

func TestS33ManyCallsInFewMessages(t *testing.T) {
	far := between(t, common(t).address())
	client := connect(t, lockservice.Address(far.Address))
	var all sync.WaitGroup
	for range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			_, _ = client.First(ctx, fresh())
		}()
	}
	all.Wait()
	if got := far.seen(t); got.Streams != 1 || got.Frames > 25 {
		t.Fatal(got.Streams, got.Frames)
	}
}

func TestS34WithoutSessions(t *testing.T) {
	far := between(t, common(t).address())
	far.fault(t, "no_sessions", "Session", 1)
	take(t, connect(t, lockservice.Address(far.Address)))
	for _, call := range far.seen(t).Calls {
		if !call.Unary {
			t.Fatal(call)
		}
	}
}

func TestS35AnOldStream(t *testing.T) {
	address := common(t).address()
	far, stub := between(t, address), admin(t, address)
	client := connect(t, lockservice.Address(far.Address), lockservice.StreamAge(300*time.Millisecond), lockservice.RetryFor(1))
	resource := fresh()
	lease := must(client.Acquire(ctx, resource, lockservice.TTL(time.Minute)))(t)
	told := make(chan error)
	go func() { told <- client.Do(ctx, resource, nothing, lockservice.Wait(20*time.Second)) }()
	until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == 1 })
	asked := 2
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); asked++ {
		if _, err := client.First(ctx, fresh()); err != nil {
			t.Fatal(err)
		}
	}
	got := far.seen(t)
	if len(far.calls(t, "Acquire"))+len(far.calls(t, "Dedupe")) != asked || got.Streams < 4 || got.Streams > 7 || got.OpenStreams != 2 {
		t.Fatal(got.Streams, got.OpenStreams, asked)
	}
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	until(t, "the first has ended", 5*time.Second, func() bool { return far.seen(t).OpenStreams == 1 })
}

func TestS36TheEnvironment(t *testing.T) {
	t.Setenv("LOCKSERVICE_ADDR", "")
	t.Setenv("LOCKSERVICE_TOKEN", "")
	if got := connect(t).Address(); got != "127.0.0.1:50051" {
		t.Fatal(got)
	}
	t.Setenv("LOCKSERVICE_ADDR", common(t).address())
	take(t, connect(t))
	t.Setenv("LOCKSERVICE_ADDR", "locks.example:50051")
	t.Setenv("LOCKSERVICE_TOKEN", "secret")
	if _, err := lockservice.New(); err == nil || !strings.Contains(err.Error(), "in the clear") {
		t.Fatal(err)
	}
}

func TestS37TheServiceConfig(t *testing.T) {
	own, common := must(os.ReadFile("../service_config.json"))(t), must(os.ReadFile("../../service_config.json"))(t)
	if !bytes.Equal(own, common) {
		t.Fatal("it is not that of the other clients")
	}
}

func TestS37CallsAreRepeatedByTheClientAlone(t *testing.T) {
	far := between(t, common(t).address())
	far.fault(t, "unavailable", "Acquire", 1000)
	calls := func(within time.Duration) int {
		before := len(far.calls(t, "Acquire"))
		client := connect(t, lockservice.Address(far.Address), lockservice.Unary(), lockservice.RetryFor(within))
		if _, err := client.Acquire(ctx, fresh()); !errors.Is(err, lockservice.ErrUnavailable) {
			t.Fatal(err)
		}
		return len(far.calls(t, "Acquire")) - before
	}
	// Pauses of 20, 40, 80, 160 and 320 ms, each with a jitter of a half.
	if once, several := calls(1), calls(500*time.Millisecond); once != 1 || several < 3 || several > 7 {
		t.Fatal(once, several)
	}
}

func TestS38Samples(t *testing.T) {
	address := common(t).address()
	for name, promised := range map[string][]string{
		"basic":   {"^another worker is told: order:basic-go is held by", "^packed packed$"},
		"waiting": {"^left 0$"},
		"dedupe":  {"^charged 12 EUR$", "^duplicate of: charged 12 EUR$"},
		"ordered": {
			"^create: applied$", "^update: applied$", "^create again: a newer one was applied$",
			"^update: done before$", "^same instant: fetched afresh and applied$",
		},
	} {
		command := exec.Command("go", "run", "../samples/"+name)
		command.Env = append(os.Environ(), "LOCKSERVICE_ADDR="+address)
		command.Dir = ".."
		command.Args[2] = "./samples/" + name
		said, err := command.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		if err != nil || len(lines) != len(promised) {
			t.Error(name, err, string(said))
			continue
		}
		for index, line := range lines {
			if !regexp.MustCompile(promised[index]).MatchString(line) {
				t.Error(name, line)
			}
		}
	}
}
