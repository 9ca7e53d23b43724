package dev.lockservice.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import dev.lockservice.client.Calls.How;
import dev.lockservice.v1.AcquireRequest;
import dev.lockservice.v1.AcquireResponse;
import dev.lockservice.v1.DedupeRequest;
import dev.lockservice.v1.DedupeResponse;
import dev.lockservice.v1.Disposition;
import dev.lockservice.v1.Operation;
import dev.lockservice.v1.ReleaseOutcome;
import dev.lockservice.v1.ReleaseRequest;
import dev.lockservice.v1.ReleaseResponse;
import dev.lockservice.v1.RenewClaimRequest;
import dev.lockservice.v1.RenewClaimResponse;
import dev.lockservice.v1.RenewOutcome;
import dev.lockservice.v1.RenewRequest;
import dev.lockservice.v1.RenewResponse;
import dev.lockservice.v1.SettleOutcome;
import dev.lockservice.v1.SettleRequest;
import dev.lockservice.v1.SettleResponse;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.function.Predicate;

/** The calls of the service, from Java values to messages. */
final class Service {
    private static final Duration CALL_TIMEOUT = Duration.ofSeconds(5);
    /** Random bits tell clients apart, and a count the requests of one. */
    private static final int PREFIX_BYTES = 12;

    private final Loop loop = new Loop();
    private final ClientOptions options;
    private final String owner;
    private final Target target;
    private final Calls calls;
    private final String requestPrefix;
    private final AtomicLong requestCount = new AtomicLong();

    Service(ClientOptions options, String owner) {
        this.options = options;
        this.owner = owner;
        target = new Target(options);
        calls = new Calls(loop, target, options);
        byte[] random = new byte[PREFIX_BYTES];
        new SecureRandom().nextBytes(random);
        requestPrefix = HexFormat.of().formatHex(random);
    }

    String address() {
        return target.address();
    }

    Executor executor() {
        return options.executor;
    }

    Duration retryFor() {
        return options.retryFor;
    }

    Loop loop() {
        return loop;
    }

    Faults faults() {
        return calls.faults;
    }

    void close() {
        Closing.close(loop, calls);
    }

    Call acquire(String resource, LockOptions how, Call.Told told) {
        AcquireRequest.Builder made = AcquireRequest.newBuilder()
                .setResource(resource)
                .setOwner(owner)
                .setTtl(span(how.ttl))
                .setRequestId(requestId(how.requestId))
                .setAllowStale(how.allowStale)
                .setEventId(how.eventId);
        if (!how.wait.isZero()) {
            made.setWaitTimeout(span(how.wait));
        }
        if (!how.retention.isZero()) {
            made.setEventRetention(span(how.retention));
        }
        if (how.version != null) {
            made.setVersion(how.version);
        }
        if (how.afterVersion != null) {
            made.setAfterVersion(how.afterVersion);
        }
        Operation operation = Operation.newBuilder().setAcquire(made).build();
        return calls.call(operation, waiting(how.wait, how.requestId), told);
    }

    Call renew(String resource, String id, Duration timeout, Duration retryFor, Renewal.Told told) {
        RenewRequest.Builder made =
                RenewRequest.newBuilder().setResource(resource).setLeaseId(id);
        Operation operation = Operation.newBuilder().setRenew(made).build();
        return renewing(operation, timeout, retryFor, told, answer -> ((RenewResponse) answer).getOutcome());
    }

    Reply<Boolean> release(Lease.Grant grant, boolean done, Duration hold, Duration within) {
        ReleaseRequest.Builder made = ReleaseRequest.newBuilder()
                .setResource(grant.resource())
                .setLeaseId(grant.id())
                .setDisposition(disposition(done));
        if (!hold.isZero()) {
            made.setHold(span(hold));
        }
        return ending(Operation.newBuilder().setRelease(made).build(), within, answer ->
                ((ReleaseResponse) answer).getOutcome() == ReleaseOutcome.RELEASE_OUTCOME_RELEASED);
    }

    Call dedupe(String key, ClaimOptions how, Duration claimTtl, Call.Told told) {
        DedupeRequest.Builder made = DedupeRequest.newBuilder()
                .setKey(key)
                .setOwner(owner)
                .setRequestId(requestId(how.requestId))
                .setFingerprint(ByteString.copyFrom(how.fingerprint));
        if (!claimTtl.isZero()) {
            made.setClaimTtl(span(claimTtl));
        }
        if (!how.wait.isZero()) {
            made.setWaitTimeout(span(how.wait));
        }
        if (!how.retention.isZero()) {
            made.setRetention(span(how.retention));
        }
        Operation operation = Operation.newBuilder().setDedupe(made).build();
        return calls.call(operation, waiting(how.wait, how.requestId), told);
    }

    Call renewClaim(String key, String id, Duration timeout, Duration retryFor, Renewal.Told told) {
        RenewClaimRequest.Builder made =
                RenewClaimRequest.newBuilder().setKey(key).setClaimId(id);
        Operation operation = Operation.newBuilder().setRenewClaim(made).build();
        return renewing(operation, timeout, retryFor, told, answer -> ((RenewClaimResponse) answer).getOutcome());
    }

    Reply<Boolean> settle(String key, String id, boolean done, byte[] result, Duration within) {
        SettleRequest.Builder made = SettleRequest.newBuilder()
                .setKey(key)
                .setClaimId(id)
                .setDisposition(disposition(done))
                .setResult(ByteString.copyFrom(result));
        return ending(Operation.newBuilder().setSettle(made).build(), within, answer ->
                ((SettleResponse) answer).getOutcome() == SettleOutcome.SETTLE_OUTCOME_SETTLED);
    }

    private Call renewing(
            Operation operation,
            Duration timeout,
            Duration retryFor,
            Renewal.Told told,
            Function<Message, RenewOutcome> outcome) {
        How how = new How(timeout, retryFor, Duration.ZERO, false);
        return calls.call(operation, how, (answer, sent, fault) ->
                told.told(fault == null && outcome.apply(answer) == RenewOutcome.RENEW_OUTCOME_RENEWED, fault));
    }

    private Reply<Boolean> ending(Operation operation, Duration within, Predicate<Message> isHeld) {
        Reply<Boolean> reply = new Reply<>(Runnable::run, held -> {});
        Duration timeout = within == null || within.compareTo(CALL_TIMEOUT) > 0 ? CALL_TIMEOUT : within;
        How how = new How(timeout, within == null ? options.retryFor : within, Duration.ZERO, false);
        calls.call(operation, how, (answer, sent, fault) -> {
            if (fault == null) {
                reply.give(isHeld.test(answer));
            } else {
                reply.fail(fault);
            }
        });
        return reply;
    }

    private How waiting(Duration wait, String named) {
        // Who has named a request may come back for its grant; to another nobody can.
        return new How(CALL_TIMEOUT, options.retryFor, wait, named == null);
    }

    private String requestId(String named) {
        return named != null ? named : requestPrefix + Long.toHexString(requestCount.incrementAndGet());
    }

    private static Disposition disposition(boolean done) {
        return done ? Disposition.DISPOSITION_DONE : Disposition.DISPOSITION_RETRY;
    }

    private static com.google.protobuf.Duration span(Duration span) {
        return Operations.span(span.toNanos());
    }
}
