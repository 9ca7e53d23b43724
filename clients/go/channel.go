package lockservice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // has the balancer leave replicas that are not ready
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "lockservice.dev/clients/go/lockservicev1"
)

const (
	defaultAddress = "127.0.0.1:50051"
	// A waiting call is answered when its wait is over; this is for the way.
	waitMargin = 5 * time.Second
	// No good request is as large, and one that gRPC refuses for its size must not take the stream along.
	operationBytesMax = 65_536
	// The results of all operations of a session may come in one message, each with up to 4 KiB.
	receiveBytesMax = 64 << 20
)

// target is an address and the credentials for it.
type target struct {
	address string
	header  metadata.MD
	options []grpc.DialOption
}

func newTarget(s *settings) (*target, error) {
	t := &target{address: first(s.address, os.Getenv("LOCKSERVICE_ADDR"), defaultAddress)}
	token := first(s.token, os.Getenv("LOCKSERVICE_TOKEN"))
	secure := s.ca != "" || s.cert != ""
	if token != "" && !secure && !s.insecure && !isLoopback(t.address) {
		return nil, fmt.Errorf("the token would cross the network to %s in the clear: use TLS, or Insecure()", t.address)
	}
	if token != "" {
		t.header = metadata.Pairs("authorization", "Bearer "+token)
	}
	creds := insecure.NewCredentials()
	if secure {
		config, err := tlsConfig(s)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	// gRPC's own pauses between connections grow to 2 min: a lease would run out beside a service that is back.
	pauses := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}
	t.options = []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Calls are repeated here, by the policy in it.
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: 2 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveBytesMax)),
	}
	return t, nil
}

func tlsConfig(s *settings) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", s.ca)
		}
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func isLoopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(address, "dns:///"))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// how says how a call is made.
type how struct {
	// timeout is for one attempt, beside its wait.
	timeout, retryFor, wait time.Duration
	// givesBack: a grant that comes when the caller has gone is given back.
	givesBack bool
}

// calls travel in a session where the service has them. A call that is unavailable, or whose answer was lost, is repeated
// as it is: its ids make that safe. Nothing else is ever repeated.
type calls struct {
	target *target
	// asking carries the session, and calls of their own that may wait. Those count as streams of theirs, and a proxy or
	// a server that allows few would keep the releases back that they wait for. So calls of their own that keep or end a
	// lease go over apart, which connects at the first of them.
	asking, apart *grpc.ClientConn
	session       *session
	// sessionless: the service has said that it knows no sessions. Another attempt would stand behind calls that wait.
	sessionless atomic.Bool
}

func newCalls(t *target, s *settings) (*calls, error) {
	asking, err := grpc.NewClient(t.address, t.options...)
	if err != nil {
		return nil, err
	}
	apart, err := grpc.NewClient(t.address, t.options...)
	if err != nil {
		_ = asking.Close()
		return nil, err
	}
	made := &calls{target: t, asking: asking, apart: apart}
	if !s.unary {
		made.session = newSession(made.start, t.address, s.streamAge)
	}
	return made, nil
}

func (c *calls) start(ctx context.Context) (grpc.BidiStreamingClient[pb.SessionRequest, pb.SessionResponse], error) {
	return pb.NewLockServiceClient(c.asking).Session(metadata.NewOutgoingContext(ctx, c.target.header))
}

// call returns the response, and when the request that it answers left.
func (c *calls) call(ctx context.Context, op operation, h how) (proto.Message, time.Time, error) {
	began := time.Now()
	sent, left, pausing := began, h.wait, retries.pauses()
	for {
		unary := c.session == nil || c.sessionless.Load() || proto.Size(op.request()) > operationBytesMax
		limit := h.timeout
		if h.wait > 0 {
			limit = left + waitMargin
		}
		var answer proto.Message
		var err error
		if unary {
			answer, err = c.unary(ctx, op, limit)
		} else if answer, err = c.session.call(ctx, op, limit, h.givesBack); errors.Is(err, errNoSessions) {
			c.sessionless.Store(true)
			continue
		}
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return answer, sent, err
		}
		delay := pausing()
		var fault *ServiceError
		if errors.As(err, &fault) {
			delay = max(delay, fault.RetryAfter)
		}
		if time.Since(began)+delay > max(h.retryFor, h.wait) {
			return nil, sent, err
		}
		if err := sleep(ctx, delay); err != nil {
			return nil, sent, err
		}
		sent = time.Now()
		if h.wait > 0 {
			left = max(0, h.wait-time.Since(began))
			op = op.waiting(left)
		}
	}
}

func (c *calls) unary(ctx context.Context, op operation, limit time.Duration) (proto.Message, error) {
	limited, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, c.target.header), limit)
	defer cancel()
	conn := c.apart
	if op.waits() {
		conn = c.asking
	}
	answer, err := op.unary(limited, pb.NewLockServiceClient(conn))
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, grpc.ErrClientConnClosing):
		return nil, closedError()
	}
	return nil, callError(status.Convert(err), c.target.address)
}

func (c *calls) close() {
	if c.session != nil {
		c.session.close()
	}
	_ = c.asking.Close()
	_ = c.apart.Close()
}

func sleep(ctx context.Context, span time.Duration) error {
	timer := time.NewTimer(span)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
