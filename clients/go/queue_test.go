package lockservice

import (
	"testing"

	pb "lockservice.dev/clients/go/lockservicev1"
)

func waiting(operations ...*pb.Operation) *queue {
	made := &queue{}
	for _, each := range operations {
		made.add(newPending(operation{each}, callTimeout, false))
	}
	return made
}

var (
	acquiring = &pb.Operation{Kind: &pb.Operation_Acquire{Acquire: &pb.AcquireRequest{}}}
	deduping  = &pb.Operation{Kind: &pb.Operation_Dedupe{Dedupe: &pb.DedupeRequest{}}}
	renewing  = &pb.Operation{Kind: &pb.Operation_Renew{Renew: &pb.RenewRequest{}}}
	releasing = &pb.Operation{Kind: &pb.Operation_Release{Release: &pb.ReleaseRequest{}}}
	claiming  = &pb.Operation{Kind: &pb.Operation_RenewClaim{RenewClaim: &pb.RenewClaimRequest{}}}
	settling  = &pb.Operation{Kind: &pb.Operation_Settle{Settle: &pb.SettleRequest{}}}
)

func TestS07WhatKeepsOrEndsALeaseLeavesFirst(t *testing.T) {
	q := waiting(deduping, renewing, acquiring, settling, releasing, claiming)
	for _, want := range []*pb.Operation{renewing, settling, releasing, claiming, deduping, acquiring} {
		if got := q.next(0); got == nil || got.op.wire != want {
			t.Fatal(got, want)
		}
	}
	if got := q.next(0); got != nil || q.count() != 0 {
		t.Fatal(got, q.count())
	}
}

func TestS07RoomOnAStream(t *testing.T) {
	for _, want := range []struct {
		open       int
		operations *queue
		ready      int
	}{
		{8_999, waiting(acquiring, deduping, renewing, releasing), 3},
		{9_000, waiting(acquiring, deduping), 0},
		{9_000, waiting(acquiring, renewing, releasing, claiming, settling), 4},
		{9_499, waiting(acquiring, renewing, releasing), 1},
		{9_500, waiting(acquiring, renewing, releasing), 0},
	} {
		if got := want.operations.ready(want.open); got != want.ready {
			t.Fatal(want.open, got)
		}
		if got := want.operations.next(want.open); (got != nil) != (want.ready > 0) {
			t.Fatal(want.open, got)
		}
	}
}
