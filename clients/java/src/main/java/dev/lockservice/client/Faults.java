package dev.lockservice.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.lockservice.client.ServiceException.Fault;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Makes exceptions of what gRPC says, and names the cause where gRPC's own words hide it. */
final class Faults {
    /** What a stream ends in when it was cut by whoever stands between. Other codes are meant for the callers. */
    private static final Set<Status.Code> CUT = EnumSet.of(
            Status.Code.CANCELLED,
            Status.Code.UNKNOWN,
            Status.Code.INTERNAL,
            Status.Code.DEADLINE_EXCEEDED,
            Status.Code.ABORTED);

    private static final Pattern CERTIFICATE = Pattern.compile("(?i)certificate|PKIX|CertPath");
    private static final Pattern TLS_TO_PLAINTEXT = Pattern.compile("(?i)not an SSL/TLS record|NotSslRecord");
    private static final Pattern PLAINTEXT_TO_TLS = Pattern.compile(
            "(?i)connection reset|broken pipe|first received frame was not settings|closed|end of stream");
    private static final int CAUSES_MAX = 8;

    private final String address;

    Faults(String address) {
        this.address = address;
    }

    /** A stream's end for those that were open on it; error is null after OK, or when it was left for its silence. */
    ServiceException ofStream(Throwable error) {
        if (error == null) {
            return unavailable(address + " ended the stream");
        }
        Status.Code code = Status.fromThrowable(error).getCode();
        if (code == Status.Code.UNIMPLEMENTED) {
            return new NoSessionsException(new Fault(code, "UNIMPLEMENTED: " + address + " knows no sessions"));
        }
        if (CUT.contains(code)) {
            return unavailable(address + " cut the stream: " + code + " " + words(error));
        }
        return ofCall(error);
    }

    /** A call's end. */
    ServiceException ofCall(Throwable error) {
        com.google.rpc.Status said = StatusProto.fromThrowable(error);
        if (said == null || said.getDetailsCount() == 0) {
            Status status = Status.fromThrowable(error);
            return made(new Fault(status.getCode(), words(error)));
        }
        return ofCall(said);
    }

    /** A call's end, as a session tells it. */
    ServiceException ofCall(com.google.rpc.Status said) {
        String reason = "";
        Duration retryAfter = Duration.ZERO;
        String message = said.getMessage();
        try {
            for (Any detail : said.getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    reason = detail.unpack(ErrorInfo.class).getReason();
                } else if (detail.is(RetryInfo.class)) {
                    retryAfter =
                            Operations.span(detail.unpack(RetryInfo.class).getRetryDelay());
                } else if (detail.is(BadRequest.class)) {
                    message = detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                            .map(field -> field.getField() + " " + field.getDescription())
                            .collect(Collectors.joining("; "));
                }
            }
        } catch (InvalidProtocolBufferException garbled) {
            message += " (with details that cannot be read)";
        }
        Status.Code code = Status.fromCodeValue(said.getCode()).getCode();
        return made(new Fault(code, reason, retryAfter, message));
    }

    ServiceException closed() {
        return new ClosedException(new Fault(Status.Code.CANCELLED, "lockservice: this client is closed"));
    }

    ServiceException late() {
        return new ServiceException(
                new Fault(Status.Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED: " + address + " did not answer in time"));
    }

    ServiceException unknown(String what) {
        return new ServiceException(
                new Fault(Status.Code.UNKNOWN, "UNKNOWN: the service is newer than this client: " + what));
    }

    private ServiceException unavailable(String why) {
        return new UnavailableException(new Fault(Status.Code.UNAVAILABLE, "UNAVAILABLE: " + why));
    }

    private ServiceException made(Fault bare) {
        String message = bare.message();
        if (bare.code() == Status.Code.UNAVAILABLE && bare.reason().isEmpty()) {
            message = cause(message);
        } else if (bare.code() == Status.Code.UNAUTHENTICATED) {
            message += " (give a valid token by LOCKSERVICE_TOKEN or ClientOptions.token, or a client certificate)";
        }
        String text = (bare.code() + " " + bare.reason()).strip() + ": " + message;
        Fault fault = new Fault(bare.code(), bare.reason(), bare.retryAfter(), text);
        return switch (bare.code()) {
            case UNAVAILABLE -> new UnavailableException(fault);
            case INVALID_ARGUMENT -> new InvalidRequestException(fault);
            case UNAUTHENTICATED, PERMISSION_DENIED -> new NotAllowedException(fault);
            default -> new ServiceException(fault);
        };
    }

    private String cause(String words) {
        if (CERTIFICATE.matcher(words).find()) {
            return address + " and this client do not accept each other's certificates: " + words;
        }
        if (TLS_TO_PLAINTEXT.matcher(words).find()) {
            return address + " does not speak TLS as this client does (plaintext server?): " + words;
        }
        if (PLAINTEXT_TO_TLS.matcher(words).find()) {
            return address + " closed the connection: does it expect TLS, or a client certificate? " + words;
        }
        return address + " cannot be reached: " + words;
    }

    /** Joins the messages of an error and its causes: gRPC's own is often no more than "io exception". */
    private static String words(Throwable error) {
        Status status = Status.fromThrowable(error);
        StringBuilder words = new StringBuilder(status.getDescription() == null ? "" : status.getDescription());
        Throwable cause = status.getCause();
        for (int depth = 0; cause != null && depth < CAUSES_MAX; depth++) {
            words.append(words.isEmpty() ? "" : ": ").append(cause.getClass().getSimpleName());
            words.append(cause.getMessage() == null ? "" : " " + cause.getMessage());
            cause = cause.getCause();
        }
        return words.toString();
    }

    /** The service is older than sessions. */
    static final class NoSessionsException extends ServiceException {
        NoSessionsException(Fault fault) {
            super(fault);
        }
    }
}
