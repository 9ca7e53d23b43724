// Bench prints one line of the figures that clients/scenarios.md names.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	lockservice "lockservice.dev/clients/go"
	pb "lockservice.dev/clients/go/lockservicev1"
)

const (
	callers   = 128
	warm, run = time.Second, 3 * time.Second
	turn      = 200
	turns     = 5
	leases    = 1_000
	ttl, kept = 10 * time.Second, 20 * time.Second
)

var ctx = context.Background()

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// pairs returns acquires and releases a second of all callers, each with a resource of its own.
func pairs(client *lockservice.Client) float64 {
	counting := time.Now().Add(warm)
	ends := counting.Add(run)
	var count atomic.Int64
	var all sync.WaitGroup
	for number := range callers {
		all.Add(1)
		go func() {
			defer all.Done()
			resource := fmt.Sprint("bench-go:", number)
			for now := time.Now(); now.Before(ends); now = time.Now() {
				lease, err := client.Acquire(ctx, resource, lockservice.TTL(30*time.Second))
				check(err)
				check(lease.Done(ctx))
				if !now.Before(counting) {
					count.Add(1)
				}
			}
		}()
	}
	all.Wait()
	return float64(count.Load()) / run.Seconds()
}

func median(spans []time.Duration) float64 {
	slices.Sort(spans)
	return float64(spans[len(spans)/2].Microseconds()) / 1e3
}

// latencies returns the medians in ms of an acquire of the client, and of the stub's, in turns.
func latencies(client *lockservice.Client) (own, stubs float64) {
	conn, err := grpc.NewClient(client.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer conn.Close()
	stub := pb.NewLockServiceClient(conn)
	var mine, raw []time.Duration
	for round := range turns {
		var made []*lockservice.Lease
		for n := range turn {
			resource := fmt.Sprintf("bench-go-own:%d:%d:%d", os.Getpid(), round, n)
			began := time.Now()
			lease, err := client.Acquire(ctx, resource)
			mine = append(mine, time.Since(began))
			check(err)
			made = append(made, lease)
		}
		for _, lease := range made {
			check(lease.Done(ctx))
		}
		for n := range turn {
			request := &pb.AcquireRequest{
				Resource: fmt.Sprintf("bench-go-stub:%d:%d:%d", os.Getpid(), round, n), Owner: "bench",
				Ttl: durationpb.New(time.Second),
			}
			began := time.Now()
			_, err := stub.Acquire(ctx, request)
			raw = append(raw, time.Since(began))
			check(err)
		}
	}
	return median(mine), median(raw)
}

func used() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// renewing returns the per cent of a core that it takes to keep leases alive.
func renewing(client *lockservice.Client) float64 {
	held := make([]*lockservice.Lease, leases)
	for n := range held {
		lease, err := client.Acquire(ctx, fmt.Sprintf("bench-go-kept:%d:%d", os.Getpid(), n), lockservice.TTL(ttl))
		check(err)
		held[n] = lease
	}
	began, before := time.Now(), used()
	time.Sleep(kept)
	percent := 100 * float64(used()-before) / float64(time.Since(began))
	for _, lease := range held {
		check(lease.Done(ctx))
	}
	return percent
}

func main() {
	client, err := lockservice.New()
	check(err)
	defer client.Close()
	figures := map[string]any{"client": "go", "pairs_per_s": pairs(client)}
	figures["p50_ms"], figures["stub_p50_ms"] = latencies(client)
	figures["renewing_cpu_percent"] = renewing(client)
	check(json.NewEncoder(os.Stdout).Encode(figures))
}
