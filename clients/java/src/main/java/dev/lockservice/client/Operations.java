package dev.lockservice.client;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import dev.lockservice.v1.AcquireOutcome;
import dev.lockservice.v1.AcquireResponse;
import dev.lockservice.v1.DedupeOutcome;
import dev.lockservice.v1.DedupeResponse;
import dev.lockservice.v1.Disposition;
import dev.lockservice.v1.LockServiceGrpc.LockServiceFutureStub;
import dev.lockservice.v1.Operation;
import dev.lockservice.v1.OperationResult;
import dev.lockservice.v1.ReleaseRequest;
import dev.lockservice.v1.SettleRequest;
import java.util.Optional;

/** A call as it travels in a session, whatever its kind. */
final class Operations {
    private static final long NANOS = 1_000_000_000L;

    private Operations() {}

    /** Says whether the service may take its time over it. */
    static boolean waits(Operation operation) {
        return operation.hasAcquire() || operation.hasDedupe();
    }

    /** Returns the same operation with another wait. */
    static Operation waiting(Operation operation, long nanos) {
        Operation.Builder made = operation.toBuilder();
        if (operation.hasAcquire()) {
            made.getAcquireBuilder().setWaitTimeout(span(nanos));
        } else if (operation.hasDedupe()) {
            made.getDedupeBuilder().setWaitTimeout(span(nanos));
        }
        return made.build();
    }

    static Duration span(long nanos) {
        return Duration.newBuilder().setSeconds(nanos / NANOS).setNanos((int) (nanos % NANOS)).build();
    }

    static java.time.Duration span(Duration duration) {
        return java.time.Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
    }

    static ListenableFuture<? extends Message> unary(Operation operation, LockServiceFutureStub stub) {
        return switch (operation.getKindCase()) {
            case ACQUIRE -> stub.acquire(operation.getAcquire());
            case RENEW -> stub.renew(operation.getRenew());
            case RELEASE -> stub.release(operation.getRelease());
            case DEDUPE -> stub.dedupe(operation.getDedupe());
            case RENEW_CLAIM -> stub.renewClaim(operation.getRenewClaim());
            case SETTLE -> stub.settle(operation.getSettle());
            case CANCEL, KIND_NOT_SET -> throw new IllegalArgumentException("no call: " + operation.getKindCase());
        };
    }

    /** Returns the operation that takes a grant back, if the answer is one. */
    static Optional<Operation> undo(Operation operation, Message answer) {
        Operation.Builder made = Operation.newBuilder();
        if (answer instanceof AcquireResponse acquired
                && acquired.getOutcome() == AcquireOutcome.ACQUIRE_OUTCOME_GRANTED) {
            made.setRelease(ReleaseRequest.newBuilder()
                    .setResource(acquired.getLease().getResource())
                    .setLeaseId(acquired.getLease().getLeaseId())
                    .setDisposition(Disposition.DISPOSITION_RETRY));
            return Optional.of(made.build());
        }
        if (answer instanceof DedupeResponse deduped
                && deduped.getOutcome() == DedupeOutcome.DEDUPE_OUTCOME_FIRST
                && !deduped.getClaimId().isEmpty()) {
            made.setSettle(SettleRequest.newBuilder()
                    .setKey(operation.getDedupe().getKey())
                    .setClaimId(deduped.getClaimId())
                    .setDisposition(Disposition.DISPOSITION_RETRY));
            return Optional.of(made.build());
        }
        return Optional.empty();
    }

    /** Returns the answer in a result; null: it is of no kind that this client knows. */
    static Message response(OperationResult result) {
        return switch (result.getKindCase()) {
            case ACQUIRE -> result.getAcquire();
            case RENEW -> result.getRenew();
            case RELEASE -> result.getRelease();
            case DEDUPE -> result.getDedupe();
            case RENEW_CLAIM -> result.getRenewClaim();
            case SETTLE -> result.getSettle();
            case ERROR, KIND_NOT_SET -> null;
        };
    }
}
