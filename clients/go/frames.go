package lockservice

import (
	"runtime"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "lockservice.dev/clients/go/lockservicev1"
)

const giveBackWithin = 5 * time.Second

// gather lets the goroutines that can run come first, for as long as they add to what may be sent. A call on its own
// finds nobody to wait for.
func (s *session) gather(stream *stream) {
	for before := -1; ; {
		s.mu.Lock()
		count := s.unsent.ready(len(stream.open))
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
	for len(operations) < operationsPerFrameMax && size < frameBytesMax {
		p := s.unsent.next(len(stream.open))
		if p == nil {
			break
		}
		if p.over {
			continue
		}
		s.last++
		p.number, p.op.wire.Id = s.last, s.last
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
	if stream.retired || s.unsent.count() > 0 {
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

// giveBack frees what was granted to a caller that has gone, or others would be kept off until its ttl ends.
func (s *session) giveBack(p *pending, answer proto.Message) {
	undo, granted := p.op.undo(answer)
	if !granted || !p.givesBack || (s.closed && len(s.streams) == 0) {
		return
	}
	ending := newPending(undo, giveBackWithin, false)
	s.pend(ending)
}
