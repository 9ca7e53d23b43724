package tests

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "lockservice.dev/clients/go/lockservicev1"
)

// relay passes connections on, and counts them.
type relay struct {
	address    string
	made, open atomic.Int64
}

func counting(t *testing.T, address string) *relay {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { _ = listener.Close() })
	made := &relay{address: listener.Addr().String()}
	go func() {
		for near, err := listener.Accept(); err == nil; near, err = listener.Accept() {
			made.made.Add(1)
			made.open.Add(1)
			go made.pass(near, address)
		}
	}()
	return made
}

func (r *relay) pass(near net.Conn, address string) {
	defer r.open.Add(-1)
	defer near.Close()
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// quiet grants the first acquire, says yes to what keeps or ends a lease, and has all other acquires wait for good. The
// service could not take as many as fast.
type quiet struct {
	pb.UnimplementedLockServiceServer
	address string
	granted atomic.Bool
	waiting atomic.Int64
}

func quietly(t *testing.T) *quiet {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	made, server := &quiet{address: listener.Addr().String()}, grpc.NewServer()
	pb.RegisterLockServiceServer(server, made)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return made
}

func (q *quiet) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	for {
		frame, err := stream.Recv()
		if err != nil {
			return nil
		}
		said := &pb.SessionResponse{}
		for _, operation := range frame.GetOperations() {
			if result := q.answer(operation); result != nil {
				said.Results = append(said.Results, result)
			}
		}
		if err := stream.Send(said); err != nil {
			return err
		}
	}
}

func (q *quiet) answer(operation *pb.Operation) *pb.OperationResult {
	result := &pb.OperationResult{Id: operation.GetId()}
	switch kind := operation.Kind.(type) {
	case *pb.Operation_Acquire:
		if q.granted.Swap(true) {
			q.waiting.Add(1)
			return nil
		}
		lease := &pb.Lease{Resource: kind.Acquire.GetResource(), LeaseId: "one", FencingToken: 1, Ttl: kind.Acquire.GetTtl()}
		granted := &pb.AcquireResponse{Outcome: pb.AcquireOutcome_ACQUIRE_OUTCOME_GRANTED, Lease: lease}
		result.Kind = &pb.OperationResult_Acquire{Acquire: granted}
	case *pb.Operation_Renew:
		renewed := &pb.RenewResponse{Outcome: pb.RenewOutcome_RENEW_OUTCOME_RENEWED}
		result.Kind = &pb.OperationResult_Renew{Renew: renewed}
	case *pb.Operation_Release:
		released := &pb.ReleaseResponse{Outcome: pb.ReleaseOutcome_RELEASE_OUTCOME_RELEASED}
		result.Kind = &pb.OperationResult_Release{Release: released}
	case *pb.Operation_Cancel:
		result.Id = kind.Cancel.GetId()
		result.Kind = &pb.OperationResult_Error{Error: status.New(codes.Canceled, "cancelled").Proto()}
	}
	return result
}
