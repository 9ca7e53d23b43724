package lockservice

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "lockservice.dev/clients/go/lockservicev1"
)

const (
	operationsPerFrameMax = 1_000
	// gRPC refuses a message of 4 MiB unless it is told otherwise.
	frameBytesMax = 1 << 20
)

type wireStream = grpc.BidiStreamingClient[pb.SessionRequest, pb.SessionResponse]

// outcome is what became of an operation.
type outcome struct {
	answer proto.Message
	err    error
}

// pending is an operation that waits to be sent or answered. The session's lock guards it.
type pending struct {
	op        operation
	number    uint64 // its id in the session; 0: it was not sent
	limit     time.Duration
	due       time.Time
	sent      time.Time // zero: not yet
	givesBack bool
	over      bool // nobody awaits it any more
	answered  chan outcome
}

func newPending(op operation, limit time.Duration, givesBack bool) *pending {
	return &pending{op: op, limit: limit, due: time.Now().Add(limit), givesBack: givesBack, answered: make(chan outcome, 1)}
}

func (p *pending) settle(answer proto.Message, err error) {
	if !p.over {
		p.over = true
		p.answered <- outcome{answer, err}
	}
}

// stream is one gRPC stream of a session: a writer, a reader, and the operations that it still owes an answer. The
// session's lock guards its fields.
type stream struct {
	session *session
	open    map[uint64]*pending
	heard   time.Time // zero: nothing ever came
	moves   time.Time // when another stream shall follow it
	cancels []uint64
	retired bool
	noMore  bool
	// wake has room for one: there is something to write.
	wake chan struct{}
	ctx  context.Context
	drop context.CancelFunc
	done chan struct{}
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// isSilent says whether nothing has come since an operation was sent, which has run out of time here.
func (s *stream) isSilent(p *pending) bool {
	return s.open[p.number] == p && s.heard.Before(p.sent) && !p.sent.After(p.due.Add(-p.limit/2))
}

func (s *stream) hasWaiting() bool {
	for _, p := range s.open {
		if p.op.waits() {
			return true
		}
	}
	return false
}

// run carries operations until the stream ends.
func (s *stream) run(start func(context.Context) (wireStream, error)) {
	defer close(s.done)
	defer s.drop()
	wire, err := start(s.ctx)
	if err == nil {
		go s.write(wire)
		err = s.read(wire)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	s.session.ended(s, err)
}

func (s *stream) read(wire wireStream) error {
	for {
		frame, err := wire.Recv()
		if err != nil {
			return err
		}
		s.session.take(s, frame)
	}
}

func (s *stream) write(wire wireStream) {
	for {
		operations, closing := s.session.fill(s)
		if closing {
			_ = wire.CloseSend()
			return
		}
		if len(operations) > 0 {
			// The reader hears why, if this fails.
			if wire.Send(&pb.SessionRequest{Operations: operations}) != nil {
				return
			}
			continue
		}
		select {
		case <-s.wake:
			// Whoever else is about to ask shares the message: one costs far more than what is in it.
			s.session.gather(s)
		case <-s.ctx.Done():
			return
		}
	}
}
