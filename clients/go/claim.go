package lockservice

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "lockservice.dev/clients/go/lockservicev1"
)

// Claim is held on an event key while the work of Once runs, and renewed meanwhile.
type Claim struct {
	Key string
	ID  string
	// Result, up to 4096 bytes, is handed to later duplicates.
	Result []byte

	renewal *renewal
}

// Check returns an ErrLeaseLost when the claim is lost.
func (c *Claim) Check() error { return c.renewal.check() }

// Remaining is how long the holder may still believe that it has the claim.
func (c *Claim) Remaining() time.Duration { return c.renewal.remaining() }

// Once processes an event once, in two phases. If work returns nil the key and Claim.Result are remembered, otherwise, or
// if it panics, the key is freed, so that a redelivery is processed. An error may be an ErrDuplicate, ErrInProgress or
// ErrMismatch.
func (c *Client) Once(
	ctx context.Context, key string, work func(context.Context, *Claim) error, options ...CallOption,
) error {
	a := collect(options)
	if a.ttl == 0 {
		a.ttl = claimTTL
	}
	answer, sent, err := c.dedupe(ctx, key, a, a.ttl)
	if err != nil {
		return err
	}
	if err := claimRefusal(key, answer); err != nil {
		return err
	}
	claim := &Claim{Key: key, ID: answer.GetClaimId()}
	claim.renewal = newRenewal(context.WithoutCancel(ctx), func(ctx context.Context, timeout, retryFor time.Duration) (bool, error) {
		return c.renewClaim(ctx, key, claim.ID, timeout, retryFor)
	}, a.ttl, sent, "the claim on "+key)
	settled := false
	defer func() {
		if !settled {
			c.free(claim)
		}
		claim.renewal.lost(context.Canceled)
	}()
	if err := claim.renewal.start(ctx, c.settings.retryFor); err != nil {
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(claim.renewal.ctx, func() { cancel(context.Cause(claim.renewal.ctx)) })
	defer stop()
	err = work(working, claim)
	if lost := claim.Check(); lost != nil {
		return errors.Join(lost, err)
	}
	if err != nil {
		return err
	}
	settled = true
	claim.renewal.end()
	held, err := c.settle(context.WithoutCancel(ctx), claim, true, 0)
	if err == nil && !held {
		err = fmt.Errorf("%w: the claim on %s had ended before the work did", ErrLeaseLost, key)
	}
	return err
}

// First remembers a key at once, and says whether this caller is the first. Only for work that may be lost: if the caller
// dies, a redelivery is still a duplicate.
func (c *Client) First(ctx context.Context, key string, options ...CallOption) (bool, error) {
	answer, _, err := c.dedupe(ctx, key, collect(options), 0)
	if err != nil {
		return false, err
	}
	return answer.GetOutcome() == pb.DedupeOutcome_DEDUPE_OUTCOME_FIRST, nil
}

// free gives a claim back if that can be done while it lasts; what the work ended by matters more than this.
func (c *Client) free(claim *Claim) {
	within := max(giveBackMin, claim.Remaining())
	lost := claim.Check()
	claim.renewal.end()
	if lost == nil {
		_, _ = c.settle(context.Background(), claim, false, within)
	}
}

func claimRefusal(key string, answer *pb.DedupeResponse) error {
	switch answer.GetOutcome() {
	case pb.DedupeOutcome_DEDUPE_OUTCOME_FIRST:
		return nil
	case pb.DedupeOutcome_DEDUPE_OUTCOME_DUPLICATE:
		return &DuplicateError{Name: key, Result: answer.GetResult()}
	case pb.DedupeOutcome_DEDUPE_OUTCOME_IN_PROGRESS:
		return &InProgressError{Key: key, RetryAfter: answer.GetRetryAfter().AsDuration()}
	case pb.DedupeOutcome_DEDUPE_OUTCOME_MISMATCH:
		return fmt.Errorf("%w: %s came with another payload before", ErrMismatch, key)
	}
	return unknownError("outcome " + answer.GetOutcome().String())
}

func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
