package dev.lockservice.client.tests;

import dev.lockservice.v1.ForceReleaseRequest;
import dev.lockservice.v1.InspectRequest;
import dev.lockservice.v1.InspectResponse;
import dev.lockservice.v1.LockAdminServiceGrpc;
import dev.lockservice.v1.LockAdminServiceGrpc.LockAdminServiceBlockingStub;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;

/** What operators use: the client is for workers. */
final class Admin implements AutoCloseable {
    private final ManagedChannel channel;
    private final LockAdminServiceBlockingStub stub;

    Admin(String address) {
        channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
                .build();
        stub = LockAdminServiceGrpc.newBlockingStub(channel);
    }

    private InspectResponse inspect(String resource) {
        return stub.inspect(InspectRequest.newBuilder().setResource(resource).build());
    }

    int queueLength(String resource) {
        return inspect(resource).getWaitersCount();
    }

    boolean isHeld(String resource) {
        return inspect(resource).getLock().hasHolder();
    }

    void force(String resource, long token) {
        stub.forceRelease(ForceReleaseRequest.newBuilder()
                .setResource(resource)
                .setFencingToken(token)
                .setReason("a test")
                .build());
    }

    @Override
    public void close() {
        channel.shutdownNow();
    }
}
