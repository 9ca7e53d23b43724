package dev.lockservice.client;

import io.grpc.Status;
import java.time.Duration;

/** A fault: the service could not or would not do it. */
public class ServiceException extends LockserviceException {
    private final transient Status.Code code;
    private final transient String reason;
    private final transient Duration retryAfter;

    ServiceException(Fault fault) {
        super(fault.message());
        code = fault.code();
        reason = fault.reason();
        retryAfter = fault.retryAfter();
    }

    /**
     * The gRPC code.
     *
     * @return the code
     */
    public Status.Code code() {
        return code;
    }

    /**
     * The reason in google.rpc.ErrorInfo, such as SHARD_UNAVAILABLE.
     *
     * @return the reason; empty when the fault is not the service's
     */
    public String reason() {
        return reason;
    }

    /**
     * After how long a retry makes sense.
     *
     * @return the time; zero when the service did not say so
     */
    public Duration retryAfter() {
        return retryAfter;
    }

    /** What is known of a fault. */
    record Fault(Status.Code code, String reason, Duration retryAfter, String message) {
        Fault(Status.Code code, String message) {
            this(code, "", Duration.ZERO, message);
        }
    }
}
