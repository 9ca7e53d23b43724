package tests

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	lockservice "lockservice.dev/clients/go"
)

func take(t *testing.T, client *lockservice.Client, options ...lockservice.CallOption) {
	t.Helper()
	if err := client.Do(ctx, fresh(), nothing, options...); err != nil {
		t.Fatal(err)
	}
}

func TestS22ARestart(t *testing.T) {
	own := start(t, 1, "")
	client, kept := connect(t, lockservice.Address(own.address())), fresh()
	lease := must(client.Acquire(ctx, kept, lockservice.TTL(6*time.Second)))(t)
	defer lease.Close()
	own.act(t, 0, "kill")
	told := make(chan error)
	go func() { told <- client.Do(ctx, fresh(), nothing) }()
	own.act(t, 0, "start")
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond)
	if err := lease.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Acquire(ctx, kept); !errors.Is(err, lockservice.ErrHeld) {
		t.Fatal(err)
	}
}

func TestS23AKilledReplica(t *testing.T) {
	for _, options := range [][]lockservice.Option{{}, {lockservice.Unary()}} {
		pair := start(t, 2, "")
		client := connect(t, append(options, lockservice.Address(pair.Target))...)
		for range 4 {
			take(t, client)
		}
		for victim := range 2 {
			pair.act(t, victim, "kill")
			for range 4 {
				take(t, client)
			}
			pair.act(t, victim, "start")
		}
	}
}

func TestS24ADrain(t *testing.T) {
	pair := start(t, 2, "")
	later, stub := connect(t, lockservice.Address(pair.Addresses[1])), admin(t, pair.Addresses[1])
	moved, resource := connect(t, lockservice.Address(pair.Target)), fresh()
	lease := must(later.Acquire(ctx, resource, lockservice.TTL(30*time.Second)))(t)
	var order []string
	var all sync.WaitGroup
	wait := func(client *lockservice.Client, name string) {
		all.Add(1)
		before := queueLength(t, stub, resource)
		go func() {
			defer all.Done()
			err := client.Do(ctx, resource, func(context.Context, *lockservice.Lease) error {
				order = append(order, name)
				return nil
			}, lockservice.Wait(20*time.Second))
			if err != nil {
				t.Error(err)
			}
		}()
		until(t, "it waits", 5*time.Second, func() bool { return queueLength(t, stub, resource) == before+1 })
	}
	wait(moved, "moved")
	wait(later, "later")
	pair.act(t, 0, "terminate")
	time.Sleep(500 * time.Millisecond)
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if strings.Join(order, " ") != "moved later" {
		t.Fatal(order)
	}
}

func TestS25AFrozenReplica(t *testing.T) {
	pair := start(t, 2, "")
	client := connect(t, lockservice.Address(pair.Target))
	take(t, client)
	pair.act(t, 0, "freeze")
	defer pair.act(t, 0, "thaw")
	var failed int
	for number := range 5 {
		if _, err := client.Acquire(ctx, fresh()); err != nil {
			if failed++; number > 1 {
				t.Fatal(number, err)
			}
		}
	}
}

func TestS26Strangers(t *testing.T) {
	for _, kind := range []string{"closed", "http", "silent"} {
		address := stranger(t, kind)
		client := connect(t, lockservice.Address(address), lockservice.RetryFor(200*time.Millisecond))
		began := time.Now()
		_, err := client.Acquire(ctx, "x")
		var fault *lockservice.ServiceError
		if !errors.As(err, &fault) || time.Since(began) > 8*time.Second {
			t.Fatal(kind, err)
		}
		if kind != "silent" && (!errors.Is(err, lockservice.ErrUnavailable) || !strings.Contains(err.Error(), address)) {
			t.Fatal(kind, err)
		}
	}
}

func TestS27TLS(t *testing.T) {
	for _, want := range []struct {
		name, tls string
		options   func(service) []lockservice.Option
		says      string
	}{
		{"plaintext to TLS", "server", func(service) []lockservice.Option { return nil }, "expect TLS"},
		{"TLS to plaintext", "", func(s service) []lockservice.Option { return []lockservice.Option{lockservice.TLS(s.CA, "", "")} }, "does not speak TLS"},
		{"expired", "expired", func(s service) []lockservice.Option { return []lockservice.Option{lockservice.TLS(s.CA, "", "")} }, "certificate.*expired"},
		{"unknown authority", "server", func(s service) []lockservice.Option { return []lockservice.Option{lockservice.TLS(s.OtherCA, "", "")} }, "certificate"},
		{"no client certificate", "mutual", func(s service) []lockservice.Option { return []lockservice.Option{lockservice.TLS(s.CA, "", "")} }, "certificate|TLS|closed"},
		{"good", "server", func(s service) []lockservice.Option { return []lockservice.Option{lockservice.TLS(s.CA, "", "")} }, ""},
		{"mutual", "mutual", func(s service) []lockservice.Option {
			return []lockservice.Option{lockservice.TLS(s.CA, s.Cert, s.Key)}
		}, ""},
	} {
		own := start(t, 1, want.tls)
		client := connect(t, append(want.options(own), lockservice.Address(own.address()), lockservice.RetryFor(200*time.Millisecond))...)
		_, err := client.Acquire(ctx, "x")
		switch {
		case want.says == "" && err != nil:
			t.Error(want.name, err)
		case want.says != "" && (!errors.Is(err, lockservice.ErrUnavailable) || !regexp.MustCompile(want.says).MatchString(err.Error())):
			t.Error(want.name, err)
		}
	}
}

func TestS28Credentials(t *testing.T) {
	for _, fault := range []string{"unauthenticated", "permission_denied"} {
		far := between(t, common(t).address())
		client := connect(t, lockservice.Address(far.Address))
		far.fault(t, fault, "Acquire", 5)
		if _, err := client.Acquire(ctx, "x"); !errors.Is(err, lockservice.ErrNotAllowed) || len(far.calls(t, "Acquire")) != 1 {
			t.Fatal(err)
		}
	}
	for _, address := range []string{"db.example:50051", "127.example.com:50051", "localhost.example.com:50051"} {
		if _, err := lockservice.New(lockservice.Address(address), lockservice.Token("secret")); err == nil {
			t.Fatal("the token would have crossed the network to", address)
		}
	}
	for _, address := range []string{"127.0.0.1:1", "dns:///localhost:1", "[::1]:1"} {
		connect(t, lockservice.Address(address), lockservice.Token("secret"))
	}
	connect(t, lockservice.Address("db.example:50051"), lockservice.Token("secret"), lockservice.Insecure())
}

func TestS29AnAnswerFromTheFuture(t *testing.T) {
	for _, fault := range []string{"unknown_outcome", "unknown_kind"} {
		far := between(t, common(t).address())
		client, resource := connect(t, lockservice.Address(far.Address)), fresh()
		far.fault(t, fault, "Acquire", 1)
		_, err := client.Acquire(ctx, resource, lockservice.TTL(500*time.Millisecond))
		var unknown *lockservice.ServiceError
		if !errors.As(err, &unknown) || unknown.Code != codes.Unknown {
			t.Fatal(err)
		}
		must(client.Acquire(ctx, resource, lockservice.Wait(5*time.Second)))(t).Close()
		if len(far.calls(t, "Renew")) != 0 {
			t.Fatal("it was kept alive")
		}
	}
}

func TestS30Megabytes(t *testing.T) {
	far := between(t, common(t).address())
	client, resource := connect(t, lockservice.Address(far.Address)), fresh()
	lease := must(client.Acquire(ctx, resource))(t)
	told := make(chan error)
	go func() { told <- client.Do(ctx, resource, nothing, lockservice.Wait(20*time.Second)) }()
	var fault *lockservice.ServiceError
	if _, err := client.Acquire(ctx, strings.Repeat("x", 4<<20)); !errors.As(err, &fault) {
		t.Fatal(err)
	}
	if _, err := client.Acquire(ctx, strings.Repeat("x", 600)); !errors.Is(err, lockservice.ErrInvalidRequest) {
		t.Fatal(err)
	}
	far.fault(t, "large", "Acquire", 1)
	take(t, client)
	if err := lease.Done(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
}

func TestS31CancelledAtAnyPoint(t *testing.T) {
	own := common(t)
	client, stub, resource := connect(t, lockservice.Address(own.address())), admin(t, own.address()), fresh()
	for delay := range 20 {
		leaving, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Duration(delay)*150*time.Microsecond, cancel)
		if lease, err := client.Acquire(leaving, resource, lockservice.TTL(20*time.Second)); err == nil {
			lease.Close()
		}
		cancel()
		until(t, "it is given back", time.Second, func() bool { return !isHeld(t, stub, resource) })
	}
	if queueLength(t, stub, resource) != 0 {
		t.Fatal("somebody waits")
	}
}
