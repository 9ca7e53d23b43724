package lockservice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	// The holder's clock may run slower than the shard's: it stops believing this much before the end.
	drift     = 0.01
	driftSpan = 10 * time.Millisecond
	again     = 50 * time.Millisecond
	firstMin  = time.Second
	// Renewals that are due within this part of the ttl are made at one moment, the earliest, and share a message.
	togetherPart = 100
)

var epoch = time.Now()

// renew renews, and says whether it is still held; an error means that nobody knows.
type renew func(ctx context.Context, timeout, retryFor time.Duration) (bool, error)

// renewal keeps a lease or a claim alive in the background, and says when it is lost before it can end elsewhere. It
// renews at a third of the ttl. The lease cannot end sooner than ttl after the request that was granted had left, and
// the holder must not believe in it for longer.
type renewal struct {
	renew renew
	ttl   time.Duration
	what  string
	// ctx is cancelled with an ErrLeaseLost as its cause when the lease is lost.
	ctx  context.Context
	lost context.CancelCauseFunc

	mu      sync.Mutex
	sent    time.Time
	timer   *time.Timer
	stopped bool
	stop    context.CancelFunc
	working context.Context
}

func newRenewal(parent context.Context, renew renew, ttl time.Duration, sent time.Time, what string) *renewal {
	r := &renewal{renew: renew, ttl: ttl, sent: sent, what: what}
	r.ctx, r.lost = context.WithCancelCause(parent)
	r.working, r.stop = context.WithCancel(context.Background())
	return r
}

// start begins; after a long wait it renews first, since only the service knows when the grant was made.
func (r *renewal) start(ctx context.Context, retryFor time.Duration) error {
	if time.Since(r.sent) > r.ttl/3 {
		held, err := r.once(ctx, max(r.attempt(), firstMin), retryFor)
		if err != nil {
			return err
		}
		if !held {
			r.lose("it had ended before its holder could begin")
		}
		if err := r.check(); err != nil {
			return err
		}
	}
	r.setTimer()
	return nil
}

// remaining is how long the holder may still believe that it holds.
func (r *renewal) remaining() time.Duration {
	if r.ctx.Err() != nil {
		return 0
	}
	return max(0, time.Until(r.deadline()))
}

func (r *renewal) check() error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if !time.Now().Before(r.deadline()) {
		return fmt.Errorf("%w: %s: its time is over", ErrLeaseLost, r.what)
	}
	return nil
}

// end renews no more.
func (r *renewal) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.stop()
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *renewal) deadline() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent.Add(time.Duration(float64(r.ttl)*(1-drift)) - driftSpan)
}

func (r *renewal) attempt() time.Duration { return max(again, r.ttl/6) }

func (r *renewal) setTimer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		due := r.sent.Add(r.ttl / 3).Sub(epoch).Truncate(r.ttl / togetherPart)
		r.timer = time.AfterFunc(max(0, due-time.Since(epoch)), r.keep)
	}
}

func (r *renewal) keep() {
	deadline := r.deadline()
	if !time.Now().Before(deadline) {
		// The process was stopped. Others may hold it: a renewal would only take time.
		r.lose("its time was over while this process did not run")
		return
	}
	// Whatever happens on the way, the holder hears of the loss in time.
	late := time.AfterFunc(time.Until(deadline), func() { r.lose("it could not be renewed in time") })
	held, err := r.untilKnown()
	late.Stop()
	switch {
	case err != nil:
		r.lose("it cannot be renewed: " + err.Error())
	case held:
		r.setTimer()
	default:
		r.lose("it expired, or was released by force")
	}
}

func (r *renewal) untilKnown() (bool, error) {
	for {
		held, err := r.once(r.working, r.attempt(), r.remaining())
		if err == nil || r.working.Err() != nil {
			return held, nil
		}
		var fault *ServiceError
		late := errors.As(err, &fault) && fault.Code == codes.DeadlineExceeded
		if !late && !errors.Is(err, ErrUnavailable) {
			return false, err
		}
		if sleep(r.working, again) != nil {
			return false, nil
		}
	}
}

func (r *renewal) once(ctx context.Context, timeout, retryFor time.Duration) (bool, error) {
	sent := time.Now()
	held, err := r.renew(ctx, timeout, retryFor)
	if held {
		r.mu.Lock()
		r.sent = sent
		r.mu.Unlock()
	}
	return held, err
}

func (r *renewal) lose(why string) {
	r.mu.Lock()
	stopped := r.stopped
	r.mu.Unlock()
	if stopped {
		return
	}
	r.end()
	r.lost(fmt.Errorf("%w: %s: %s", ErrLeaseLost, r.what, why))
}
