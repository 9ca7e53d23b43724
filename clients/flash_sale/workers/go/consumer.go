package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	stream, group = "sale:events", "workers"
	batch         = 64
	block         = 200 * time.Millisecond
	look          = 250 * time.Millisecond
	// An entry that its worker has not been heard of for this long is given to another.
	silent    = 3 * time.Second
	heartbeat = time.Second
	// One that cannot be worked on yet is claimed again after this long.
	again = 500 * time.Millisecond
)

type handle func(ctx context.Context, headers, body []byte) (string, error)

// consumer keeps up to so many entries of the stream in work at once.
type consumer struct {
	db     *redis.Client
	name   string
	free   chan struct{}
	handle handle
	failed chan error

	mu   sync.Mutex
	open map[string]bool
}

func newConsumer(db *redis.Client, name string, slots int, handle handle) *consumer {
	return &consumer{
		db: db, name: name, free: make(chan struct{}, slots), handle: handle, failed: make(chan error, 1),
		open: map[string]bool{},
	}
}

// run works until the context ends, or something cannot go on.
func (c *consumer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, part := range []func(context.Context) error{c.read, c.claim, c.keep} {
		go func() { c.fail(part(ctx)) }()
	}
	select {
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (c *consumer) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

func (c *consumer) read(ctx context.Context) error {
	for {
		room, err := c.room(ctx)
		if err != nil {
			return err
		}
		got, err := c.db.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: c.name, Streams: []string{stream, ">"}, Count: room, Block: block,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, each := range got {
			c.take(ctx, each.Messages)
		}
	}
}

func (c *consumer) claim(ctx context.Context) error {
	start := "0-0"
	for {
		room, err := c.room(ctx)
		if err != nil {
			return err
		}
		args := &redis.XAutoClaimArgs{Stream: stream, Group: group, Consumer: c.name, MinIdle: silent, Start: start, Count: room}
		entries, next, err := c.db.XAutoClaim(ctx, args).Result()
		if err != nil {
			return err
		}
		c.take(ctx, entries)
		if start = next; start == "0-0" {
			time.Sleep(look)
		}
	}
}

// keep says that what is in work is heard of.
func (c *consumer) keep(ctx context.Context) error {
	for {
		time.Sleep(heartbeat)
		c.mu.Lock()
		names := make([]string, 0, len(c.open))
		for name := range c.open {
			names = append(names, name)
		}
		c.mu.Unlock()
		if len(names) == 0 {
			continue
		}
		if err := c.heardOf(ctx, 0, names...); err != nil {
			return err
		}
	}
}

func (c *consumer) heardOf(ctx context.Context, idle time.Duration, names ...string) error {
	words := []any{"XCLAIM", stream, group, c.name, 0}
	for _, name := range names {
		words = append(words, name)
	}
	return c.db.Do(ctx, append(words, "IDLE", idle.Milliseconds(), "JUSTID")...).Err()
}

// room waits for a free slot, and says how many there are.
func (c *consumer) room(ctx context.Context) (int64, error) {
	for {
		if free := cap(c.free) - len(c.free); free > 0 {
			return int64(min(free, batch)), nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (c *consumer) take(ctx context.Context, entries []redis.XMessage) {
	for _, entry := range entries {
		c.mu.Lock()
		known := c.open[entry.ID]
		c.open[entry.ID] = true
		c.mu.Unlock()
		if known {
			continue
		}
		c.free <- struct{}{}
		go c.work(ctx, entry)
	}
}

func (c *consumer) work(ctx context.Context, entry redis.XMessage) {
	headers, _ := entry.Values["headers"].(string)
	body, _ := entry.Values["body"].(string)
	outcome, err := c.handle(ctx, []byte(headers), []byte(body))
	if err == nil {
		err = c.settle(ctx, entry.ID, outcome)
	}
	c.mu.Lock()
	delete(c.open, entry.ID)
	c.mu.Unlock()
	<-c.free
	if err != nil && ctx.Err() == nil {
		c.fail(err)
	}
}

func (c *consumer) settle(ctx context.Context, id, outcome string) error {
	if outcome == "" {
		if err := c.db.HIncrBy(ctx, "sale:outcomes", "handed back", 1).Err(); err != nil {
			return err
		}
		return c.heardOf(ctx, silent-again, id)
	}
	// In this order: should the worker die on the way, the next XAUTOCLAIM tidies up.
	_, err := c.db.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HIncrBy(ctx, "sale:outcomes", outcome, 1)
		p.HIncrBy(ctx, "sale:shares", c.name, 1)
		p.XDel(ctx, stream, id)
		p.XAck(ctx, stream, group, id)
		return nil
	})
	return err
}
