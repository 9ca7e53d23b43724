package dev.lockservice.client;

import dev.lockservice.v1.AcquireResponse;
import dev.lockservice.v1.DedupeOutcome;
import dev.lockservice.v1.DedupeResponse;
import java.time.Duration;
import java.util.concurrent.Executor;

/** Makes leases and claims of what the service grants, and exceptions of what it refuses. */
final class Grants {
    private final Service service;

    Grants(Service service) {
        this.service = service;
    }

    /** Takes a lease; the reply is completed in an executor. */
    Reply<Lease> lease(String resource, LockOptions options, Executor executor) {
        Reply<Lease> reply = reply(options.requestId, executor);
        reply.of(service.acquire(resource, options, (answer, sent, fault) -> {
            if (fault == null) {
                acquired(reply, resource, options, (AcquireResponse) answer, sent);
            } else {
                reply.fail(fault);
            }
        }));
        return reply;
    }

    /** Claims a key; the reply is completed in an executor. */
    Reply<Claim> claim(String key, ClaimOptions options, Executor executor) {
        Reply<Claim> reply = reply(options.requestId, executor);
        reply.of(service.dedupe(key, options, options.ttl, (answer, sent, fault) -> {
            if (fault == null) {
                claimed(reply, key, options, (DedupeResponse) answer, sent);
            } else {
                reply.fail(fault);
            }
        }));
        return reply;
    }

    /** Remembers a key at once; the reply says whether this caller was the first. */
    Reply<Boolean> first(String key, ClaimOptions options, Executor executor) {
        Reply<Boolean> reply = new Reply<>(executor, first -> {});
        reply.of(service.dedupe(key, options, Duration.ZERO, (answer, sent, fault) -> {
            if (fault != null) {
                reply.fail(fault);
                return;
            }
            DedupeResponse deduped = (DedupeResponse) answer;
            switch (deduped.getOutcome()) {
                case DEDUPE_OUTCOME_FIRST, DEDUPE_OUTCOME_DUPLICATE -> reply.give(
                        deduped.getOutcome() == DedupeOutcome.DEDUPE_OUTCOME_FIRST);
                default -> reply.fail(refusal(key, deduped));
            }
        }));
        return reply;
    }

    private void acquired(
            Reply<Lease> reply, String resource, LockOptions options, AcquireResponse answer, long sent) {
        switch (answer.getOutcome()) {
            case ACQUIRE_OUTCOME_GRANTED -> {
                Lease lease = granted(resource, options, answer, sent);
                begin(reply, lease);
            }
            case ACQUIRE_OUTCOME_HELD -> reply.fail(new HeldException(resource, holder(answer)));
            case ACQUIRE_OUTCOME_DUPLICATE -> reply.fail(
                    new DuplicateException("the event on " + resource, new byte[0]));
            case ACQUIRE_OUTCOME_STALE -> reply.fail(new StaleException(resource, completed(answer)));
            case ACQUIRE_OUTCOME_EARLY -> reply.fail(new EarlyException(resource, completed(answer)));
            case ACQUIRE_OUTCOME_UNSPECIFIED, UNRECOGNIZED -> reply.fail(
                    service.faults().unknown("outcome " + answer.getOutcomeValue()));
        }
    }

    private Lease granted(String resource, LockOptions options, AcquireResponse answer, long sent) {
        dev.lockservice.v1.Lease made = answer.getLease();
        long completed = completed(answer);
        Lease.Grant grant = new Lease.Grant(
                resource,
                made.getLeaseId(),
                made.getFencingToken(),
                previous(answer),
                completed,
                options.version != null && options.version == completed,
                Operations.span(answer.getWaited()));
        Renewal.Renew renew = (timeout, retryFor, told) ->
                service.renew(resource, grant.id(), timeout, retryFor, told);
        Duration ttl = Operations.span(made.getTtl());
        return new Lease(service, grant, new Renewal(service.loop(), renew, ttl, sent, "the lease on " + resource));
    }

    private void claimed(Reply<Claim> reply, String key, ClaimOptions options, DedupeResponse answer, long sent) {
        if (answer.getOutcome() != DedupeOutcome.DEDUPE_OUTCOME_FIRST) {
            reply.fail(refusal(key, answer));
            return;
        }
        String id = answer.getClaimId();
        Renewal.Renew renew = (timeout, retryFor, told) -> service.renewClaim(key, id, timeout, retryFor, told);
        Renewal renewal = new Renewal(service.loop(), renew, options.ttl, sent, "the claim on " + key);
        begin(reply, new Claim(service, key, id, renewal));
    }

    private static <H extends Holding> Reply<H> reply(String named, Executor executor) {
        return new Reply<>(executor, held -> {
            if (named == null) {
                held.giveBack(Duration.ZERO);
            } else {
                // Who has named the request may come back for it.
                held.renewal.end();
            }
        });
    }

    private <H extends Holding> void begin(Reply<H> reply, H held) {
        held.renewal.start(service.retryFor(), failed -> {
            if (failed == null) {
                reply.give(held);
            } else {
                held.giveBack(Duration.ZERO);
                reply.fail(failed);
            }
        });
    }

    private LockserviceException refusal(String key, DedupeResponse answer) {
        return switch (answer.getOutcome()) {
            case DEDUPE_OUTCOME_DUPLICATE -> new DuplicateException(key, answer.getResult().toByteArray());
            case DEDUPE_OUTCOME_IN_PROGRESS -> new InProgressException(key, Operations.span(answer.getRetryAfter()));
            case DEDUPE_OUTCOME_MISMATCH -> new MismatchException(key);
            case DEDUPE_OUTCOME_FIRST, DEDUPE_OUTCOME_UNSPECIFIED, UNRECOGNIZED -> service.faults()
                    .unknown("outcome " + answer.getOutcomeValue());
        };
    }

    private static Holder holder(AcquireResponse answer) {
        dev.lockservice.v1.Holder by = answer.getHolder();
        return answer.hasHolder()
                ? new Holder(by.getOwner(), by.getFencingToken(), Operations.span(by.getRemaining()))
                : null;
    }

    private static long completed(AcquireResponse answer) {
        return answer.hasCompletedVersion() ? answer.getCompletedVersion() : -1;
    }

    private static PreviousLease previous(AcquireResponse answer) {
        return switch (answer.getPreviousLease()) {
            case PREVIOUS_LEASE_RELEASED -> PreviousLease.RELEASED;
            case PREVIOUS_LEASE_EXPIRED -> PreviousLease.EXPIRED;
            case PREVIOUS_LEASE_FORCED -> PreviousLease.FORCED;
            case PREVIOUS_LEASE_UNSPECIFIED, UNRECOGNIZED -> PreviousLease.NONE;
        };
    }
}
