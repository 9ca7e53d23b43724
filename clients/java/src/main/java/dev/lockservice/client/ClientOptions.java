package dev.lockservice.client;

import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import java.util.function.Consumer;

/** How the service is reached. Each method returns other options, and leaves these as they are. */
public final class ClientOptions implements Cloneable {
    private static final ClientOptions DEFAULTS = new ClientOptions();

    String address = "";
    String owner = "";
    String token = "";
    Path ca;
    Path cert;
    Path key;
    boolean secure;
    boolean insecure;
    boolean unary;
    Duration retryFor = Duration.ofSeconds(10);
    Duration streamAge = Duration.ofMinutes(5);
    Executor executor = ForkJoinPool.commonPool();
    /** No choice of users: tests fill a stream with fewer operations. */
    int openMax = Unsent.OPEN_MAX;

    int keepingMax = Unsent.KEEPING_MAX;

    private ClientOptions() {}

    /**
     * What LOCKSERVICE_ADDR and LOCKSERVICE_TOKEN say; else 127.0.0.1:50051 without a token.
     *
     * @return options to go on from
     */
    public static ClientOptions defaults() {
        return DEFAULTS;
    }

    /**
     * Where the service is.
     *
     * @param address HOST:PORT, or dns:///HOST:PORT for several replicas
     * @return options with it
     */
    public ClientOptions address(String address) {
        return with(made -> made.address = address);
    }

    /**
     * Who holds leases, for people and tools; host and process id unless told otherwise.
     *
     * @param owner up to 256 bytes
     * @return options with it
     */
    public ClientOptions owner(String owner) {
        return with(made -> made.owner = owner);
    }

    /**
     * A bearer token.
     *
     * @param token the secret
     * @return options with it
     */
    public ClientOptions token(String token) {
        return with(made -> made.token = token);
    }

    /**
     * Turns TLS on.
     *
     * @param ca PEM file of the authority; null: those that the machine trusts
     * @return options with it
     */
    public ClientOptions tls(Path ca) {
        return tls(ca, null, null);
    }

    /**
     * Turns TLS on, with a certificate of the client's own.
     *
     * @param ca PEM file of the authority; null: those that the machine trusts
     * @param cert PEM file of the client's certificate
     * @param key PEM file of its key, in PKCS #8
     * @return options with it
     */
    public ClientOptions tls(Path ca, Path cert, Path key) {
        return with(made -> {
            made.ca = ca;
            made.cert = cert;
            made.key = key;
            made.secure = true;
        });
    }

    /**
     * Sends a token in the clear beyond loopback.
     *
     * @return options with it
     */
    public ClientOptions insecure() {
        return with(made -> made.insecure = true);
    }

    /**
     * How long an unavailable service is asked again; 10 s unless told otherwise. For a call that waits, at least its
     * wait.
     *
     * @param span the time
     * @return options with it
     */
    public ClientOptions retryFor(Duration span) {
        return with(made -> made.retryFor = span);
    }

    /**
     * Makes each call a gRPC call of its own.
     *
     * @return options with it
     */
    public ClientOptions unary() {
        return with(made -> made.unary = true);
    }

    /**
     * After how long a session goes on on another stream; 5 min unless told otherwise.
     *
     * @param age the time
     * @return options with it
     */
    public ClientOptions streamAge(Duration age) {
        return with(made -> made.streamAge = age);
    }

    /**
     * Where listeners and what depends on futures run; the common pool unless told otherwise.
     *
     * @param executor it should have a thread free
     * @return options with it
     */
    public ClientOptions executor(Executor executor) {
        return with(made -> made.executor = executor);
    }

    private ClientOptions with(Consumer<ClientOptions> change) {
        try {
            ClientOptions made = (ClientOptions) clone();
            change.accept(made);
            return made;
        } catch (CloneNotSupportedException impossible) {
            throw new AssertionError(impossible);
        }
    }
}
