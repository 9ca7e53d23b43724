package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	lockservice "lockservice.dev/clients/go"
)

const (
	orderMin, orderMax = 100 * time.Millisecond, 400 * time.Millisecond
	// Some calls of the work outlast a lease that nobody renews.
	slow      = 0.004
	slowSpan  = 5200 * time.Millisecond
	stockSpan = 2 * time.Millisecond
)

var errNoOrder = errors.New("no order yet")

// worker works on events.
type worker struct {
	db    *redis.Client
	guard guard
}

// handle works on a delivery, and says how it ended; "": not now, it shall come back.
func (w *worker) handle(ctx context.Context, headers, body []byte) (string, error) {
	e, err := read(headers, body)
	if err != nil {
		return "", err
	}
	outcome := "done"
	err = w.guard.order(ctx, e, func(ctx context.Context) error {
		again, err := w.process(ctx, e)
		if again {
			outcome = "in the document"
		}
		return err
	})
	var fault *lockservice.ServiceError
	switch {
	case err == nil:
		return outcome, nil
	case errors.Is(err, lockservice.ErrDuplicate):
		return "duplicate", nil
	case errors.Is(err, lockservice.ErrStale):
		return "stale", nil
	case errors.Is(err, lockservice.ErrEarly):
		return "", w.count(ctx, "early")
	case errors.Is(err, lockservice.ErrHeld):
		return "", w.count(ctx, "held")
	case errors.Is(err, lockservice.ErrLeaseLost):
		return "", w.count(ctx, "leaselost")
	case errors.Is(err, errNoOrder):
		return "", w.count(ctx, "no order yet")
	case errors.As(err, &fault):
		reason := fault.Reason
		if reason == "" {
			reason = "fault"
		}
		return "", w.count(ctx, reason)
	}
	return "", err
}

func (w *worker) process(ctx context.Context, e *event) (again bool, err error) {
	key := "order:" + e.gid
	d := &document{}
	known, err := w.load(ctx, key, d)
	if err != nil {
		return false, err
	}
	if !known && e.topic != created {
		return false, errNoOrder
	}
	think(ctx)
	if !known {
		number, err := w.db.Incr(ctx, "sale:numbers").Result()
		if err != nil {
			return false, err
		}
		d = newDocument(e.gid, number)
	}
	again = d.has(e)
	if !again {
		fresh, err := w.askShop(ctx, d, e)
		if err != nil {
			return again, err
		}
		d.apply(e, fresh)
		if err := w.store(ctx, key, d); err != nil {
			return again, err
		}
	}
	// A worker may have died after the write, so what follows is done again, under the order's number.
	if e.topic == created {
		told := []any{fmt.Sprintf(`["warehouse",%q,%d]`, e.gid, d.Number), fmt.Sprintf(`["confirmation",%q,%d]`, e.gid, d.Number)}
		if err := w.db.RPush(ctx, "sale:outside", told...).Err(); err != nil {
			return again, err
		}
	}
	for _, p := range e.pieces {
		if err := w.move(ctx, e, d, p); err != nil {
			return again, err
		}
	}
	return again, nil
}

// askShop asks for the order as it is, after two events of one instant.
func (w *worker) askShop(ctx context.Context, d *document, e *event) (map[string]json.RawMessage, error) {
	if !d.isTie(e) {
		return nil, nil
	}
	if err := w.count(ctx, "tie"); err != nil {
		return nil, err
	}
	body, err := w.db.Get(ctx, "shop:"+e.gid).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return keep(body)
}

func (w *worker) move(ctx context.Context, e *event, d *document, p pieces) error {
	key, name := "stock:"+p.variant, fmt.Sprint(d.Number)
	if p.count > 0 {
		name += "/" + e.bodyID.String()
	}
	return w.guard.stock(ctx, e, p.variant, func(ctx context.Context) error {
		s := newStock()
		if _, err := w.load(ctx, key, s); err != nil {
			return err
		}
		time.Sleep(stockSpan)
		if !s.move(name, p.count) {
			return nil
		}
		return w.store(ctx, key, s)
	})
}

func (w *worker) load(ctx context.Context, key string, into any) (bool, error) {
	text, err := w.db.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(text, into)
}

func (w *worker) store(ctx context.Context, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.db.Set(ctx, key, text, 0).Err()
}

func (w *worker) count(ctx context.Context, what string) error {
	return w.db.HIncrBy(ctx, "sale:outcomes", what, 1).Err()
}

// think calls the carrier, the tax office and the books.
func think(ctx context.Context) {
	span := orderMin + time.Duration(rand.Int64N(int64(orderMax-orderMin)))
	if rand.Float64() < slow {
		span = slowSpan
	}
	select {
	case <-time.After(span):
	case <-ctx.Done():
	}
}
