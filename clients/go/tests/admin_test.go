package tests

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "lockservice.dev/clients/go/lockservicev1"
)

// admin calls what operators use: the client is for workers.
func admin(t *testing.T, address string) pb.LockAdminServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewLockAdminServiceClient(conn)
}

func queueLength(t *testing.T, stub pb.LockAdminServiceClient, resource string) int {
	t.Helper()
	answer, err := stub.Inspect(context.Background(), &pb.InspectRequest{Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	return len(answer.GetWaiters())
}

func isHeld(t *testing.T, stub pb.LockAdminServiceClient, resource string) bool {
	t.Helper()
	answer, err := stub.Inspect(context.Background(), &pb.InspectRequest{Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetLock().GetHolder() != nil
}
