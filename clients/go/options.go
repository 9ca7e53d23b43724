package lockservice

import "time"

// Option says how the service is reached.
type Option func(*settings)

type settings struct {
	address, owner, token string
	ca, cert, key         string
	insecure, unary       bool
	retryFor, streamAge   time.Duration
}

// Address is HOST:PORT, or dns:///HOST:PORT for several replicas. Unset: LOCKSERVICE_ADDR, else 127.0.0.1:50051.
func Address(address string) Option { return func(s *settings) { s.address = address } }

// Owner is who holds leases, for people and tools. Unset: host and process id.
func Owner(owner string) Option { return func(s *settings) { s.owner = owner } }

// Token is a bearer token. Unset: LOCKSERVICE_TOKEN.
func Token(token string) Option { return func(s *settings) { s.token = token } }

// TLS turns TLS on: PEM files of the authority, and of the client's certificate and key; any may be empty.
func TLS(ca, cert, key string) Option {
	return func(s *settings) { s.ca, s.cert, s.key = ca, cert, key }
}

// Insecure sends a token in the clear beyond loopback.
func Insecure() Option { return func(s *settings) { s.insecure = true } }

// RetryFor is how long an unavailable service is asked again. Unset: 10 s. For a call that waits, at least its wait.
func RetryFor(span time.Duration) Option { return func(s *settings) { s.retryFor = span } }

// Unary makes each call a gRPC call of its own.
func Unary() Option { return func(s *settings) { s.unary = true } }

// StreamAge is after how long a session goes on on another stream. Unset: 5 min.
func StreamAge(age time.Duration) Option { return func(s *settings) { s.streamAge = age } }

// CallOption says how a lease is taken, or a key is claimed.
type CallOption func(*asked)

type asked struct {
	ttl, wait, retention, retryHold time.Duration
	version, afterVersion           *int64
	allowStale                      bool
	eventID                         string
	requestID                       *string
	fingerprint                     []byte
}

func collect(options []CallOption) *asked {
	made := &asked{}
	for _, option := range options {
		option(made)
	}
	return made
}

// TTL is how long the lease or the claim lasts without renewal, 100 ms to 1 h. Unset: 10 s for a lease, 30 s for a claim.
func TTL(ttl time.Duration) CallOption { return func(a *asked) { a.ttl = ttl } }

// Wait is how long to queue, up to 1 h. Unset: not at all.
func Wait(wait time.Duration) CallOption { return func(a *asked) { a.wait = wait } }

// Version is that of the entity which this event carries, 0 to 2^53 - 1.
func Version(version int64) CallOption { return func(a *asked) { a.version = &version } }

// AfterVersion waits until the entity has been completed up to this version.
func AfterVersion(version int64) CallOption { return func(a *asked) { a.afterVersion = &version } }

// AllowStale is granted even if a newer version has been completed.
func AllowStale() CallOption { return func(a *asked) { a.allowStale = true } }

// EventID refuses an event that was completed on this resource before.
func EventID(id string) CallOption { return func(a *asked) { a.eventID = id } }

// Retention is how long an event is remembered, 1 s to 30 d. Unset: a day.
func Retention(retention time.Duration) CallOption { return func(a *asked) { a.retention = retention } }

// RequestID gives the same lease, or the same answer, to the same id again. Unset: a random one.
func RequestID(id string) CallOption { return func(a *asked) { a.requestID = &id } }

// RetryHold keeps the resource for the retry of the same event when the work of Do fails, up to 1 h.
func RetryHold(hold time.Duration) CallOption { return func(a *asked) { a.retryHold = hold } }

// Fingerprint is a hash of an event's payload, up to 64 bytes.
func Fingerprint(hash []byte) CallOption { return func(a *asked) { a.fingerprint = hash } }
