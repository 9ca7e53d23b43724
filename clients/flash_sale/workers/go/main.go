// A worker of the flash sale in Go; ../README.md says what workers do.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	lockservice "lockservice.dev/clients/go"
)

func main() {
	address := flag.String("redis", "", "HOST:PORT of the Redis with the events and the documents")
	guarding := flag.String("guarding", "lockservice", "lockservice or nothing")
	server := flag.String("server", "", "HOST:PORT of lockservice")
	name := flag.String("name", "", "of this consumer")
	slots := flag.Int("slots", 100, "events in work at once")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db := redis.NewClient(&redis.Options{Addr: *address, PoolSize: 64})
	w := &worker{db: db, guard: nothing{}}
	if *guarding == "lockservice" {
		client, err := lockservice.New(lockservice.Address(*server), lockservice.Owner(*name))
		if err != nil {
			log.Fatal(err)
		}
		w.guard = leases{client}
	}
	c := newConsumer(db, *name, *slots, w.handle)
	if err := c.run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
	// What is in work comes to its end elsewhere.
	os.Exit(0)
}
