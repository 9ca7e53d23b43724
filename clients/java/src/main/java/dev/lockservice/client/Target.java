package dev.lockservice.client;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** An address and the credentials for it. */
final class Target {
    private static final String DEFAULT_ADDRESS = "127.0.0.1:50051";
    /** The results of all operations of a session may come in one message, each with up to 4 KiB. */
    private static final int RECEIVE_BYTES_MAX = 64 << 20;

    private static final long KEEPALIVE_S = 30;
    private static final long KEEPALIVE_TIMEOUT_S = 10;
    private static final Pattern LOOPBACK =
            Pattern.compile("(dns:///)?(localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1\\])(:\\d+)?|unix:.*");
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final String address;
    private final String token;
    private final ChannelCredentials credentials;

    Target(ClientOptions options) {
        address = first(options.address, System.getenv("LOCKSERVICE_ADDR"), DEFAULT_ADDRESS);
        token = first(options.token, System.getenv("LOCKSERVICE_TOKEN"), "");
        boolean exposed = !options.secure && !LOOPBACK.matcher(address).matches();
        if (!token.isEmpty() && exposed && !options.insecure) {
            throw new IllegalArgumentException("the token would cross the network to " + address
                    + " in the clear: use ClientOptions.tls, or insecure");
        }
        credentials = options.secure ? tls(options) : InsecureChannelCredentials.create();
    }

    String address() {
        return address;
    }

    /** Opens a connection of its own, with the token in every call. */
    ManagedChannel channel() {
        Metadata header = new Metadata();
        if (!token.isEmpty()) {
            header.put(AUTHORIZATION, "Bearer " + token);
        }
        return builder()
                .defaultServiceConfig(RetryPolicy.SERVICE_CONFIG)
                // Calls are repeated here, by the policy in it.
                .disableRetry()
                .keepAliveTime(KEEPALIVE_S, TimeUnit.SECONDS)
                .keepAliveTimeout(KEEPALIVE_TIMEOUT_S, TimeUnit.SECONDS)
                .maxInboundMessageSize(RECEIVE_BYTES_MAX)
                .intercept(MetadataUtils.newAttachHeadersInterceptor(header))
                // What comes is only handed to the loop: a thread pool in between would cost a switch.
                .directExecutor()
                .build();
    }

    private ManagedChannelBuilder<?> builder() {
        try {
            return Grpc.newChannelBuilder(address, credentials);
        } catch (IllegalArgumentException wrong) {
            String why = "a certificate or key cannot be read; keys must be in PKCS #8 (openssl pkcs8 -topk8 -nocrypt)";
            throw new IllegalArgumentException(why + ": " + wrong.getMessage(), wrong);
        }
    }

    private static ChannelCredentials tls(ClientOptions options) {
        try {
            TlsChannelCredentials.Builder made = TlsChannelCredentials.newBuilder();
            if (options.ca != null) {
                made.trustManager(options.ca.toFile());
            }
            if (options.cert != null) {
                made.keyManager(options.cert.toFile(), options.key.toFile());
            }
            return made.build();
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }

    private static String first(String... texts) {
        return Stream.of(texts)
                .filter(text -> text != null && !text.isEmpty())
                .findFirst()
                .orElse("");
    }
}
