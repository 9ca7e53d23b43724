package lockservice

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Refusals are answers: the event need not, must not or cannot be processed now.
var (
	// ErrHeld: others hold the resource, or are queued for it. Try later. See HeldError.
	ErrHeld = errors.New("lockservice: held")
	// ErrDuplicate: the event was completed before. Acknowledge it and go on. See DuplicateError.
	ErrDuplicate = errors.New("lockservice: duplicate")
	// ErrStale: a newer version of the entity has been completed.
	ErrStale = errors.New("lockservice: stale")
	// ErrEarly: the version that this event needs has not been completed yet. Retry later.
	ErrEarly = errors.New("lockservice: early")
	// ErrInProgress: another has claimed the event key. See InProgressError.
	ErrInProgress = errors.New("lockservice: in progress")
	// ErrMismatch: the same event key came with another payload.
	ErrMismatch = errors.New("lockservice: mismatch")
	// ErrLeaseLost: the lease or claim ended before the work did. Others may have gone on already.
	ErrLeaseLost = errors.New("lockservice: lease lost")
)

// Faults: mend the request, or wait until the service is back. All of them are a *ServiceError.
var (
	// ErrUnavailable: the service, or the shard of this key, cannot be reached. Repeat with the same ids.
	ErrUnavailable = errors.New("lockservice: unavailable")
	// ErrInvalidRequest: a field is missing, too long or out of range; the message names it.
	ErrInvalidRequest = errors.New("lockservice: invalid request")
	// ErrNotAllowed: the credentials are missing, wrong, or not good for this.
	ErrNotAllowed = errors.New("lockservice: not allowed")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("lockservice: this client is closed")

	errNoSessions = errors.New("lockservice: no sessions")
)

// Holder is who holds a resource.
type Holder struct {
	Owner        string
	FencingToken int64
	// Remaining is how long the lease still lasts, unless it is renewed.
	Remaining time.Duration
}

// HeldError is an ErrHeld.
type HeldError struct {
	Resource string
	// Holder is nil when nobody holds it, but others wait.
	Holder *Holder
}

func (e *HeldError) Error() string {
	if e.Holder == nil {
		return e.Resource + " is held"
	}
	return fmt.Sprintf("%s is held by %s", e.Resource, e.Holder.Owner)
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// VersionError is an ErrStale or an ErrEarly.
type VersionError struct {
	Resource string
	// CompletedVersion is the highest version released as done; -1 if none was.
	CompletedVersion int64
	kind             error
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%v: %s has been completed up to version %d", e.kind, e.Resource, e.CompletedVersion)
}

func (e *VersionError) Unwrap() error { return e.kind }

// DuplicateError is an ErrDuplicate.
type DuplicateError struct {
	Name string
	// Result is what was left for later duplicates when the claim was settled.
	Result []byte
}

func (e *DuplicateError) Error() string { return e.Name + " was completed before" }

// Is makes errors.Is(err, ErrDuplicate) true.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }

// InProgressError is an ErrInProgress.
type InProgressError struct {
	Key string
	// RetryAfter is how long the other's claim still lasts.
	RetryAfter time.Duration
}

func (e *InProgressError) Error() string { return e.Key + " is being processed by another" }

// Is makes errors.Is(err, ErrInProgress) true.
func (e *InProgressError) Is(target error) bool { return target == ErrInProgress }

// ServiceError is a fault: the service could not or would not do it.
type ServiceError struct {
	Code codes.Code
	// Reason is that of google.rpc.ErrorInfo, such as SHARD_UNAVAILABLE; empty when the fault is not the service's.
	Reason string
	// RetryAfter is after how long a retry makes sense; 0 when the service did not say so.
	RetryAfter time.Duration
	message    string
	kind       error
}

func (e *ServiceError) Error() string { return e.message }

func (e *ServiceError) Unwrap() error { return e.kind }

// What a stream ends in when it was cut by whoever stands between. Other codes are meant for the callers.
var cut = map[codes.Code]bool{
	codes.Canceled: true, codes.Unknown: true, codes.Internal: true, codes.DeadlineExceeded: true, codes.Aborted: true,
}

var (
	certificate = regexp.MustCompile(`(?i)certificate|x509`)
	tlsToPlain  = regexp.MustCompile(`(?i)first record does not look like a TLS handshake|tls: `)
	plainToTLS  = regexp.MustCompile(`(?i)error reading server preface|connection reset|broken pipe|EOF|malformed|server preface|closed`)
)

func closedError() error {
	return &ServiceError{Code: codes.Canceled, message: ErrClosed.Error(), kind: ErrClosed}
}

func lateError() error {
	return &ServiceError{Code: codes.DeadlineExceeded, message: "DEADLINE_EXCEEDED: deadline exceeded"}
}

func unknownError(what string) error {
	return &ServiceError{Code: codes.Unknown, message: "UNKNOWN: the service is newer than this client: " + what}
}

// streamError makes what an operation ends in that was open when its stream ended; nil: with OK, or without a word.
func streamError(err error, address string) error {
	if err == nil {
		return &ServiceError{Code: codes.Unavailable, message: "UNAVAILABLE: " + address + " ended the stream", kind: ErrUnavailable}
	}
	said := status.Convert(err)
	if said.Code() == codes.Unimplemented {
		return &ServiceError{Code: said.Code(), message: "UNIMPLEMENTED: " + address + " knows no sessions", kind: errNoSessions}
	}
	if cut[said.Code()] {
		why := fmt.Sprintf("UNAVAILABLE: %s cut the stream: %s %s", address, said.Code(), said.Message())
		return &ServiceError{Code: codes.Unavailable, message: why, kind: ErrUnavailable}
	}
	return callError(said, address)
}

// callError translates a status, and names the cause where gRPC's own words hide it.
func callError(said *status.Status, address string) error {
	made := &ServiceError{Code: said.Code()}
	message := said.Message()
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			made.Reason = detail.GetReason()
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			var fields []string
			for _, violation := range detail.GetFieldViolations() {
				fields = append(fields, violation.GetField()+" "+violation.GetDescription())
			}
			message = strings.Join(fields, "; ")
		}
	}
	switch said.Code() {
	case codes.InvalidArgument:
		made.kind = ErrInvalidRequest
	case codes.Unavailable:
		made.kind = ErrUnavailable
		if made.Reason == "" {
			message = cause(message, address)
		}
	case codes.Unauthenticated:
		made.kind = ErrNotAllowed
		message += " (give a valid token by LOCKSERVICE_TOKEN or Token, or a client certificate)"
	case codes.PermissionDenied:
		made.kind = ErrNotAllowed
	}
	made.message = strings.TrimSpace(codeName(said.Code())+" "+made.Reason) + ": " + message
	return made
}

func codeName(code codes.Code) string {
	var name strings.Builder
	for index, letter := range code.String() {
		if index > 0 && letter >= 'A' && letter <= 'Z' && code != codes.OK {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}

func cause(words, address string) string {
	switch {
	case certificate.MatchString(words):
		return fmt.Sprintf("%s and this client do not accept each other's certificates: %s", address, words)
	case tlsToPlain.MatchString(words):
		return fmt.Sprintf("%s does not speak TLS as this client does (plaintext server?): %s", address, words)
	case plainToTLS.MatchString(words):
		return fmt.Sprintf("%s closed the connection: does it expect TLS, or a client certificate? %s", address, words)
	}
	return fmt.Sprintf("%s cannot be reached: %s", address, words)
}
