package lockservice

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "lockservice.dev/clients/go/lockservicev1"
)

const (
	giveBackWithin = 5 * time.Second
	closeWithin    = time.Second
	// Clients that were started together do not all move at one moment.
	ageJitter = 0.1
)

// session carries operations over one stream at a time, and opens the next one when it has ended. What is asked for
// while a message is being written leaves in the next one.
type session struct {
	start   func(context.Context) (wireStream, error)
	address string
	age     time.Duration

	mu     sync.Mutex
	unsent []*pending
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
		for number, open := range stream.open {
			if open == p && stream.isSilent(number, p) {
				// A frozen replica would hold up every repetition: the next stream may lead to another.
				s.drop(stream, func() error { return streamError(nil, s.address) })
				return
			}
		}
	}
	s.withdraw(p)
}

// close gives up what waits, lets the rest come through for up to a second, and ends the streams.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.awaited() {
		if p.op.waits() {
			p.settle(nil, closedError())
			s.withdraw(p)
		}
	}
	s.emptied = make(chan struct{})
	emptied := s.emptied
	s.tellEmpty()
	s.mu.Unlock()
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	select {
	case <-emptied:
	case <-late.C:
	}
	s.mu.Lock()
	var ending []*stream
	for stream := range s.streams {
		ending = append(ending, stream)
		s.drop(stream, closedError)
	}
	for _, p := range s.unsent {
		p.settle(nil, closedError())
	}
	s.mu.Unlock()
	for _, stream := range ending {
		<-stream.done
	}
}

// pend has an operation sent; the lock is held, as in all that follows.
func (s *session) pend(p *pending) {
	s.unsent = append(s.unsent, p)
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
		for number, open := range stream.open {
			if open == p {
				stream.cancels = append(stream.cancels, number)
				stream.rouse()
			}
		}
	}
}

// giveBack frees what was granted to a caller that has gone, or others would be kept off until its ttl ends.
func (s *session) giveBack(p *pending, answer proto.Message) {
	undo, granted := p.op.undo(answer)
	if !granted || !p.givesBack || (s.closed && len(s.streams) == 0) {
		return
	}
	ending := newPending(undo, giveBackWithin, false)
	s.pend(ending)
}

// gather lets the goroutines that can run come first, for as long as they add to what waits to be sent. A call on its own
// finds nobody to wait for.
func (s *session) gather() {
	for before := -1; ; {
		s.mu.Lock()
		count := len(s.unsent)
		s.mu.Unlock()
		if count == before || count >= operationsPerFrameMax {
			return
		}
		before = count
		runtime.Gosched()
	}
}

// fill takes what one message holds of what waits to be sent.
func (s *session) fill(stream *stream) (operations []*pb.Operation, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(stream.cancels) > 0 && len(operations) < operationsPerFrameMax {
		cancel := &pb.CancelOperation{Id: stream.cancels[0]}
		operations = append(operations, &pb.Operation{Kind: &pb.Operation_Cancel{Cancel: cancel}})
		stream.cancels = stream.cancels[1:]
	}
	if stream.retired || stream.noMore {
		return operations, len(operations) == 0 && (stream.noMore || len(stream.open) == 0)
	}
	size, now := 0, time.Now()
	for len(s.unsent) > 0 && len(operations) < operationsPerFrameMax && len(stream.open) < openMax && size < frameBytesMax {
		p := s.unsent[0]
		s.unsent = s.unsent[1:]
		if p.over {
			continue
		}
		s.last++
		p.op.wire.Id = s.last
		p.sent = now
		stream.open[s.last] = p
		size += proto.Size(p.op.wire)
		operations = append(operations, p.op.wire)
	}
	return operations, false
}

// take hands results to their callers; what was granted to nobody is given back.
func (s *session) take(stream *stream, frame *pb.SessionResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream.heard = time.Now()
	for _, result := range frame.GetResults() {
		p := stream.open[result.GetId()]
		if p == nil {
			continue
		}
		delete(stream.open, result.GetId())
		s.answer(stream, p, result)
	}
	if stream.retired || len(s.unsent) > 0 {
		stream.rouse()
	}
	s.tellEmpty()
}

func (s *session) answer(stream *stream, p *pending, result *pb.OperationResult) {
	answer := response(result)
	var err error
	if said := result.GetError(); said != nil {
		err = callError(status.FromProto(said), s.address)
		if fault, ok := err.(*ServiceError); ok && fault.Reason == "DRAINING" {
			s.retire(stream)
		}
	} else if answer == nil {
		err = unknownError("an answer of another kind")
	}
	if p.over {
		s.giveBack(p, answer)
		return
	}
	p.settle(answer, err)
}

func (s *session) retire(stream *stream) {
	stream.retired = true
	stream.rouse()
	if stream == s.stream {
		s.stream = nil
		s.goOn()
	}
}

// ended fails what was open, so that it is repeated on the next stream.
func (s *session) ended(stream *stream, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.streams[stream] {
		return
	}
	fault := func() error { return streamError(err, s.address) }
	current := stream == s.stream
	s.forget(stream, fault)
	if current && err == nil && !stream.heard.IsZero() {
		// A replica may end a stream for its age. What was not sent has lost nothing.
		s.goOn()
	} else if current {
		for _, p := range s.unsent {
			p.settle(nil, fault())
		}
		s.unsent = nil
	}
	s.tellEmpty()
}

func (s *session) drop(stream *stream, fault func() error) {
	s.forget(stream, fault)
	stream.drop()
	if !s.closed {
		s.goOn()
	}
}

func (s *session) forget(stream *stream, fault func() error) {
	delete(s.streams, stream)
	stream.noMore = true
	if stream == s.stream {
		s.stream = nil
	}
	for _, p := range stream.open {
		p.settle(nil, fault())
	}
	clear(stream.open)
}

// goOn opens the next stream if something waits to be sent.
func (s *session) goOn() {
	if len(s.unsent) > 0 && s.stream == nil {
		s.open()
		s.stream.rouse()
	}
}

func (s *session) awaited() []*pending {
	var found []*pending
	for _, p := range s.unsent {
		if !p.over {
			found = append(found, p)
		}
	}
	for stream := range s.streams {
		for _, p := range stream.open {
			if !p.over {
				found = append(found, p)
			}
		}
	}
	return found
}

// tellEmpty closes the streams when a closed session has nothing open any more.
func (s *session) tellEmpty() {
	if s.emptied == nil {
		return
	}
	for _, p := range s.unsent {
		if !p.over {
			return
		}
	}
	for stream := range s.streams {
		if len(stream.open) > 0 {
			return
		}
	}
	for stream := range s.streams {
		stream.noMore = true
		stream.rouse()
	}
	if len(s.streams) == 0 {
		close(s.emptied)
		s.emptied = nil
	}
}
