package lockservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A lease that is about to end is still worth one try to give it back.
const giveBackMin = 100 * time.Millisecond

// PreviousLease is how the lease before ended; after PreviousExpired or PreviousForced work may be half done.
type PreviousLease int

// How a lease ended.
const (
	PreviousNone PreviousLease = iota
	PreviousReleased
	PreviousExpired
	PreviousForced
)

// Lease is held until Done, Retry or Close, and renewed meanwhile.
type Lease struct {
	Resource string
	// ID is the secret that renew and release present.
	ID string
	// FencingToken rises with every grant of the resource, and stays below 2^53. Let the store refuse a lower one than
	// it has seen.
	FencingToken int64
	Previous     PreviousLease
	// CompletedVersion is the highest version released as done; -1 if none was.
	CompletedVersion int64
	// Tie: CompletedVersion equals this event's version: two events of one instant, so fetch the entity afresh.
	Tie bool
	// Waited is the time in the queue.
	Waited time.Duration

	client  *Client
	renewal *renewal
	mu      sync.Mutex
	ended   bool
}

// Context is cancelled, with an ErrLeaseLost as its cause, before the lease can end at the service. It has the values of
// the context that the lease was acquired with, and not its deadline.
func (l *Lease) Context() context.Context { return l.renewal.ctx }

// Remaining is how long the holder may still believe that it holds.
func (l *Lease) Remaining() time.Duration { return l.renewal.remaining() }

// Check returns an ErrLeaseLost when the lease is lost. Call it between the steps of long work.
func (l *Lease) Check() error { return l.renewal.check() }

// Done releases the lease as done: its version and its event are recorded. It returns an ErrLeaseLost when the lease had
// ended before, and nothing was recorded.
func (l *Lease) Done(ctx context.Context) error { return l.end(ctx, true, 0, 0) }

// Retry releases the lease for a retry: nothing is recorded, and a redelivery is processed. With a hold, up to 1 h, the
// resource is kept for the retry of the same event.
func (l *Lease) Retry(ctx context.Context, hold time.Duration) error {
	return l.end(ctx, false, hold, 0)
}

// Close releases the lease for a retry unless it has ended: what broke off is repeated, never recorded.
func (l *Lease) Close() { l.giveBack(0) }

func (l *Lease) giveBack(hold time.Duration) {
	within := max(giveBackMin, l.Remaining())
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	// What the work ended by matters more than this.
	_ = l.end(ctx, false, hold, within)
}

func (l *Lease) end(ctx context.Context, done bool, hold, within time.Duration) error {
	l.mu.Lock()
	ended := l.ended
	l.ended = true
	l.mu.Unlock()
	if ended {
		return nil
	}
	lost := l.renewal.check()
	l.renewal.end()
	defer l.renewal.lost(context.Canceled)
	if lost != nil {
		return lost
	}
	held, err := l.client.release(ctx, l.Resource, l.ID, done, hold, within)
	if err == nil && !held {
		err = fmt.Errorf("%w: %s had ended before the work did: nothing was recorded", ErrLeaseLost, l.Resource)
	}
	return err
}

// Acquire takes a lease, and keeps it until Done, Retry or Close; defer Close. The context is for the acquiring alone.
// An error may be an ErrHeld, ErrDuplicate, ErrStale or ErrEarly.
func (c *Client) Acquire(ctx context.Context, resource string, options ...CallOption) (*Lease, error) {
	a := collect(options)
	if a.ttl == 0 {
		a.ttl = leaseTTL
	}
	lease, err := c.acquire(ctx, resource, a)
	if err != nil {
		return nil, err
	}
	if err := lease.renewal.start(ctx, c.settings.retryFor); err != nil {
		lease.giveBack(0)
		return nil, err
	}
	return lease, nil
}

// Do holds a lease while work runs. If work returns nil the lease is released as done, otherwise, or if it panics, for a
// retry. Work's context ends when the lease is lost, and Do returns an ErrLeaseLost then.
func (c *Client) Do(
	ctx context.Context, resource string, work func(context.Context, *Lease) error, options ...CallOption,
) error {
	lease, err := c.Acquire(ctx, resource, options...)
	if err != nil {
		return err
	}
	hold := collect(options).retryHold
	// After a panic, too; Done has ended it otherwise.
	defer lease.giveBack(hold)
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(lease.Context(), func() { cancel(context.Cause(lease.Context())) })
	defer stop()
	err = work(working, lease)
	lease.mu.Lock()
	ended := lease.ended
	lease.mu.Unlock()
	if ended {
		return err
	}
	if lost := lease.Check(); lost != nil {
		return errors.Join(lost, err)
	}
	if err != nil {
		return err
	}
	return lease.Done(context.WithoutCancel(ctx))
}
