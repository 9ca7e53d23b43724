// Package lockservice is the Go client of lockservice: leases, ordering and deduplication for workers that share
// entities.
package lockservice

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	pb "lockservice.dev/clients/go/lockservicev1"
)

const (
	callTimeout = 5 * time.Second
	retrySpan   = 10 * time.Second
	streamAge   = 5 * time.Minute
	leaseTTL    = 10 * time.Second
	claimTTL    = 30 * time.Second
)

// Client talks to lockservice. It may be used by many goroutines. Close it.
//
// What may be unavailable for a moment is repeated with the same ids. A context that ends, ends the call: who waited
// has left the queue, and what was granted at that moment is given back, unless the caller named the request.
type Client struct {
	settings *settings
	calls    *calls
	// 96 random bits tell clients apart, and a count the requests of one.
	requestPrefix string
	requestCount  atomic.Uint64
}

// New makes a client. It connects at its first call. The error says that a token would be sent in the clear, or what is
// wrong with a file.
func New(options ...Option) (*Client, error) {
	s := &settings{retryFor: retrySpan, streamAge: streamAge}
	for _, option := range options {
		option(s)
	}
	if s.owner == "" {
		host, _ := os.Hostname()
		s.owner = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	t, err := newTarget(s)
	if err != nil {
		return nil, err
	}
	calls, err := newCalls(t, s)
	if err != nil {
		return nil, err
	}
	var prefix [12]byte
	_, _ = rand.Read(prefix[:])
	return &Client{settings: s, calls: calls, requestPrefix: hex.EncodeToString(prefix[:])}, nil
}

// Address is how the service is reached.
func (c *Client) Address() string { return c.calls.target.address }

// Owner is who holds leases, for people and tools.
func (c *Client) Owner() string { return c.settings.owner }

// Close closes the connections once releases on their way are through. Leases still held run out by themselves.
func (c *Client) Close() { c.calls.close() }

func (c *Client) requestID(a *asked) string {
	if a.requestID != nil {
		return *a.requestID
	}
	return c.requestPrefix + strconv.FormatUint(c.requestCount.Add(1), 16)
}

func (c *Client) acquire(ctx context.Context, resource string, a *asked) (*Lease, error) {
	request := &pb.AcquireRequest{
		Resource: resource, Owner: c.settings.owner, Ttl: span(a.ttl), WaitTimeout: span(a.wait),
		RequestId: c.requestID(a), Version: a.version, AfterVersion: a.afterVersion, AllowStale: a.allowStale,
		EventId: a.eventID, EventRetention: span(a.retention),
	}
	op := operation{&pb.Operation{Kind: &pb.Operation_Acquire{Acquire: request}}}
	// Who has named a request may come back for its grant; to another nobody can.
	h := how{timeout: callTimeout, retryFor: c.settings.retryFor, wait: a.wait, givesBack: a.requestID == nil}
	got, sent, err := c.calls.call(ctx, op, h)
	if err != nil {
		return nil, err
	}
	answer := got.(*pb.AcquireResponse)
	completed := int64(-1)
	if answer.CompletedVersion != nil {
		completed = answer.GetCompletedVersion()
	}
	if answer.GetOutcome() != pb.AcquireOutcome_ACQUIRE_OUTCOME_GRANTED {
		return nil, refusal(resource, answer, completed)
	}
	granted := answer.GetLease()
	lease := &Lease{
		Resource: resource, ID: granted.GetLeaseId(), FencingToken: granted.GetFencingToken(),
		Previous: PreviousLease(answer.GetPreviousLease()), CompletedVersion: completed,
		Tie: a.version != nil && *a.version == completed, Waited: answer.GetWaited().AsDuration(), client: c,
	}
	lease.renewal = newRenewal(context.WithoutCancel(ctx), func(ctx context.Context, timeout, retryFor time.Duration) (bool, error) {
		return c.renew(ctx, resource, lease.ID, timeout, retryFor)
	}, granted.GetTtl().AsDuration(), sent, "the lease on "+resource)
	return lease, nil
}

func refusal(resource string, answer *pb.AcquireResponse, completed int64) error {
	switch answer.GetOutcome() {
	case pb.AcquireOutcome_ACQUIRE_OUTCOME_HELD:
		held := &HeldError{Resource: resource}
		if by := answer.GetHolder(); by != nil {
			held.Holder = &Holder{by.GetOwner(), by.GetFencingToken(), by.GetRemaining().AsDuration()}
		}
		return held
	case pb.AcquireOutcome_ACQUIRE_OUTCOME_DUPLICATE:
		return &DuplicateError{Name: "the event on " + resource}
	case pb.AcquireOutcome_ACQUIRE_OUTCOME_STALE:
		return &VersionError{resource, completed, ErrStale}
	case pb.AcquireOutcome_ACQUIRE_OUTCOME_EARLY:
		return &VersionError{resource, completed, ErrEarly}
	}
	return unknownError("outcome " + answer.GetOutcome().String())
}

func (c *Client) renew(ctx context.Context, resource, id string, timeout, retryFor time.Duration) (bool, error) {
	request := &pb.RenewRequest{Resource: resource, LeaseId: id}
	op := operation{&pb.Operation{Kind: &pb.Operation_Renew{Renew: request}}}
	got, _, err := c.calls.call(ctx, op, how{timeout: timeout, retryFor: retryFor})
	if err != nil {
		return false, err
	}
	return got.(*pb.RenewResponse).GetOutcome() == pb.RenewOutcome_RENEW_OUTCOME_RENEWED, nil
}

func (c *Client) release(
	ctx context.Context, resource, id string, done bool, hold, within time.Duration,
) (bool, error) {
	request := &pb.ReleaseRequest{Resource: resource, LeaseId: id, Disposition: disposition(done), Hold: span(hold)}
	op := operation{&pb.Operation{Kind: &pb.Operation_Release{Release: request}}}
	got, _, err := c.calls.call(ctx, op, c.within(within))
	if err != nil {
		return false, err
	}
	return got.(*pb.ReleaseResponse).GetOutcome() == pb.ReleaseOutcome_RELEASE_OUTCOME_RELEASED, nil
}

func (c *Client) dedupe(
	ctx context.Context, key string, a *asked, claimTTL time.Duration,
) (*pb.DedupeResponse, time.Time, error) {
	request := &pb.DedupeRequest{
		Key: key, Retention: span(a.retention), ClaimTtl: span(claimTTL), Owner: c.settings.owner,
		RequestId: c.requestID(a), Fingerprint: a.fingerprint, WaitTimeout: span(a.wait),
	}
	op := operation{&pb.Operation{Kind: &pb.Operation_Dedupe{Dedupe: request}}}
	h := how{timeout: callTimeout, retryFor: c.settings.retryFor, wait: a.wait, givesBack: a.requestID == nil}
	got, sent, err := c.calls.call(ctx, op, h)
	if err != nil {
		return nil, sent, err
	}
	return got.(*pb.DedupeResponse), sent, nil
}

func (c *Client) renewClaim(ctx context.Context, key, id string, timeout, retryFor time.Duration) (bool, error) {
	request := &pb.RenewClaimRequest{Key: key, ClaimId: id}
	op := operation{&pb.Operation{Kind: &pb.Operation_RenewClaim{RenewClaim: request}}}
	got, _, err := c.calls.call(ctx, op, how{timeout: timeout, retryFor: retryFor})
	if err != nil {
		return false, err
	}
	return got.(*pb.RenewClaimResponse).GetOutcome() == pb.RenewOutcome_RENEW_OUTCOME_RENEWED, nil
}

func (c *Client) settle(ctx context.Context, claim *Claim, done bool, within time.Duration) (bool, error) {
	request := &pb.SettleRequest{Key: claim.Key, ClaimId: claim.ID, Disposition: disposition(done)}
	if done {
		request.Result = claim.Result
	}
	op := operation{&pb.Operation{Kind: &pb.Operation_Settle{Settle: request}}}
	got, _, err := c.calls.call(ctx, op, c.within(within))
	if err != nil {
		return false, err
	}
	return got.(*pb.SettleResponse).GetOutcome() == pb.SettleOutcome_SETTLE_OUTCOME_SETTLED, nil
}

func (c *Client) within(within time.Duration) how {
	if within == 0 {
		return how{timeout: callTimeout, retryFor: c.settings.retryFor}
	}
	return how{timeout: min(callTimeout, within), retryFor: within}
}

func disposition(done bool) pb.Disposition {
	if done {
		return pb.Disposition_DISPOSITION_DONE
	}
	return pb.Disposition_DISPOSITION_RETRY
}
