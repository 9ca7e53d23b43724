package lockservice

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "lockservice.dev/clients/go/lockservicev1"
)

// operation is a call as it travels in a session: exactly one field of pb.Operation is set.
type operation struct{ wire *pb.Operation }

func (o operation) request() proto.Message {
	switch kind := o.wire.Kind.(type) {
	case *pb.Operation_Acquire:
		return kind.Acquire
	case *pb.Operation_Renew:
		return kind.Renew
	case *pb.Operation_Release:
		return kind.Release
	case *pb.Operation_Dedupe:
		return kind.Dedupe
	case *pb.Operation_RenewClaim:
		return kind.RenewClaim
	case *pb.Operation_Settle:
		return kind.Settle
	}
	return nil
}

// waits says whether the service may take its time over it.
func (o operation) waits() bool {
	return o.wire.GetAcquire() != nil || o.wire.GetDedupe() != nil
}

// waiting returns the same operation with another wait. The one before may still be on its way: it is not changed.
func (o operation) waiting(left time.Duration) operation {
	made := proto.Clone(o.wire).(*pb.Operation)
	if acquire := made.GetAcquire(); acquire != nil {
		acquire.WaitTimeout = durationpb.New(left)
	} else if dedupe := made.GetDedupe(); dedupe != nil {
		dedupe.WaitTimeout = durationpb.New(left)
	}
	return operation{made}
}

func (o operation) unary(ctx context.Context, stub pb.LockServiceClient) (proto.Message, error) {
	switch kind := o.wire.Kind.(type) {
	case *pb.Operation_Acquire:
		return stub.Acquire(ctx, kind.Acquire)
	case *pb.Operation_Renew:
		return stub.Renew(ctx, kind.Renew)
	case *pb.Operation_Release:
		return stub.Release(ctx, kind.Release)
	case *pb.Operation_Dedupe:
		return stub.Dedupe(ctx, kind.Dedupe)
	case *pb.Operation_RenewClaim:
		return stub.RenewClaim(ctx, kind.RenewClaim)
	case *pb.Operation_Settle:
		return stub.Settle(ctx, kind.Settle)
	}
	panic("an operation of no kind")
}

// undo returns the operation that takes a grant back, if the answer is one.
func (o operation) undo(answer proto.Message) (operation, bool) {
	const retry = pb.Disposition_DISPOSITION_RETRY
	switch answer := answer.(type) {
	case *pb.AcquireResponse:
		if lease := answer.GetLease(); answer.GetOutcome() == pb.AcquireOutcome_ACQUIRE_OUTCOME_GRANTED && lease != nil {
			release := &pb.ReleaseRequest{Resource: lease.GetResource(), LeaseId: lease.GetLeaseId(), Disposition: retry}
			return operation{&pb.Operation{Kind: &pb.Operation_Release{Release: release}}}, true
		}
	case *pb.DedupeResponse:
		if answer.GetOutcome() == pb.DedupeOutcome_DEDUPE_OUTCOME_FIRST && answer.GetClaimId() != "" {
			settle := &pb.SettleRequest{Key: o.wire.GetDedupe().GetKey(), ClaimId: answer.GetClaimId(), Disposition: retry}
			return operation{&pb.Operation{Kind: &pb.Operation_Settle{Settle: settle}}}, true
		}
	}
	return operation{}, false
}

// response returns the answer in a result; nil: it is of no kind that this client knows.
func response(result *pb.OperationResult) proto.Message {
	switch kind := result.Kind.(type) {
	case *pb.OperationResult_Acquire:
		return kind.Acquire
	case *pb.OperationResult_Renew:
		return kind.Renew
	case *pb.OperationResult_Release:
		return kind.Release
	case *pb.OperationResult_Dedupe:
		return kind.Dedupe
	case *pb.OperationResult_RenewClaim:
		return kind.RenewClaim
	case *pb.OperationResult_Settle:
		return kind.Settle
	}
	return nil
}
