package lockservice

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Clients that were started together do not all move at one moment.
const ageJitter = 0.1

// session carries operations over one stream at a time, and opens the next one when it has ended. What is asked for
// while a message is being written leaves in the next one.
type session struct {
	start   func(context.Context) (wireStream, error)
	address string
	age     time.Duration

	mu     sync.Mutex
	unsent queue
	stream *stream
	// One that is too old, or of a draining replica, gets nothing new, but still answers.
	streams map[*stream]bool
	last    uint64
	closed  bool
	// emptied is closed when nothing is open any more, if somebody waits for that.
	emptied chan struct{}
}

func newSession(start func(context.Context) (wireStream, error), address string, age time.Duration) *session {
	return &session{start: start, address: address, age: age, streams: map[*stream]bool{}}
}

// call returns the response to an operation. Its error is the context's cause when the caller has gone.
func (s *session) call(ctx context.Context, op operation, limit time.Duration, givesBack bool) (proto.Message, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p := newPending(op, limit, givesBack)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, closedError()
	}
	s.pend(p)
	s.mu.Unlock()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case got := <-p.answered:
		return got.answer, got.err
	case <-ctx.Done():
		return s.leave(p, context.Cause(ctx))
	case <-late.C:
		s.tooLate(p)
		got := <-p.answered
		return got.answer, got.err
	}
}

// leave sees to an operation whose caller has gone: its result may still come.
func (s *session) leave(p *pending, cause error) (proto.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.over {
		// The answer came at the moment of the cancellation.
		s.giveBack(p, (<-p.answered).answer)
		return nil, cause
	}
	p.over = true
	s.withdraw(p)
	return nil, cause
}

// tooLate ends an operation that has run out of time, and leaves a stream on which nothing comes.
func (s *session) tooLate(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.over {
		return
	}
	p.settle(nil, lateError())
	for stream := range s.streams {
		if stream.isSilent(p) {
			s.goElsewhere(stream, p)
			return
		}
	}
	s.withdraw(p)
}

// pend has an operation sent; the lock is held, as in all that follows.
func (s *session) pend(p *pending) {
	s.unsent.add(p)
	if s.stream != nil && !time.Now().Before(s.stream.moves) {
		s.stream.retired = true
		s.stream.rouse()
		s.stream = nil
	}
	if s.stream == nil {
		s.open()
	}
	s.stream.rouse()
}

func (s *session) open() {
	age := time.Duration(float64(s.age) * (1 - ageJitter + 2*ageJitter*rand.Float64()))
	ctx, drop := context.WithCancel(context.Background())
	s.stream = &stream{
		session: s, open: map[uint64]*pending{}, moves: time.Now().Add(age),
		wake: make(chan struct{}, 1), ctx: ctx, drop: drop, done: make(chan struct{}),
	}
	s.streams[s.stream] = true
	go s.stream.run(s.start)
}

func (s *session) withdraw(p *pending) {
	if !p.op.waits() {
		return
	}
	for stream := range s.streams {
		if stream.open[p.number] == p {
			stream.cancels = append(stream.cancels, p.number)
			stream.rouse()
		}
	}
}
