package dev.lockservice.client;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.Function;

/**
 * Talks to lockservice. Many threads may use one; close it at the end. It connects at its first call.
 *
 * <p>What may be unavailable for a moment is repeated with the same ids. A thread that is interrupted, or a future that
 * is cancelled, takes its call back: who waited has left the queue, and what was granted at that moment is given back,
 * unless the caller named the request.
 *
 * <p>Every method may throw a {@link ServiceException}: {@link UnavailableException}, {@link InvalidRequestException},
 * {@link NotAllowedException}, {@link ClosedException}.
 */
public final class Client implements AutoCloseable {
    private final ClientOptions options;
    private final String owner;
    private final Service service;
    private final Grants grants;

    private Client(ClientOptions options) {
        this.options = options;
        owner = options.owner.isEmpty() ? host() + ":" + ProcessHandle.current().pid() : options.owner;
        service = new Service(options, owner);
        grants = new Grants(service);
    }

    /**
     * Makes a client of what the environment says.
     *
     * @return a client to be closed
     */
    public static Client create() {
        return create(ClientOptions.defaults());
    }

    /**
     * Makes a client.
     *
     * @param options where the service is, and the credentials for it
     * @return a client to be closed
     * @throws IllegalArgumentException a token would be sent in the clear, or a file is no certificate
     */
    public static Client create(ClientOptions options) {
        return new Client(options);
    }

    /**
     * How the service is reached.
     *
     * @return its address
     */
    public String address() {
        return service.address();
    }

    /**
     * Who holds leases, for people and tools.
     *
     * @return the owner
     */
    public String owner() {
        return owner;
    }

    /**
     * Holds a lease while work runs in this thread. If the work returns, the lease is released as done, otherwise for a
     * retry. When the lease is lost this thread is interrupted.
     *
     * @param <E> what the work may throw
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @param work the work
     * @throws E what the work throws
     * @throws InterruptedException this thread was interrupted, while it waited
     * @throws HeldException others hold the resource; or {@link DuplicateException}, {@link StaleException}, {@link
     *     EarlyException}
     * @throws LeaseLostException the lease ended before the work did
     */
    public <E extends Exception> void withLock(String resource, LockOptions options, Work<Lease, E> work)
            throws E, InterruptedException {
        Scope.<Lease, Void, E>run(acquire(resource, options), options.retryHold, lease -> {
            work.run(lease);
            return null;
        });
    }

    /**
     * Does what {@link #withLock} does, and returns what the work returns.
     *
     * @param <T> of the value
     * @param <E> what the work may throw
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @param work the work
     * @return its value
     * @throws E what the work throws
     * @throws InterruptedException this thread was interrupted, while it waited
     */
    public <T, E extends Exception> T callWithLock(String resource, LockOptions options, ValueWork<T, E> work)
            throws E, InterruptedException {
        return Scope.run(acquire(resource, options), options.retryHold, work::call);
    }

    /**
     * Does what {@link #withLock} does, for work that goes on elsewhere. When the lease is lost the future fails, and
     * the work's is cancelled.
     *
     * @param <T> of the value
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @param work begins the work
     * @return completed when the lease is released
     */
    public <T> CompletableFuture<T> withLockAsync(
            String resource, LockOptions options, Function<Lease, ? extends CompletionStage<T>> work) {
        return Scope.runAsync(grants.lease(resource, options, this.options.executor), options.retryHold, work);
    }

    /**
     * Takes a lease, and keeps it until it is ended, best by try-with-resources: {@link Lease#close} releases it for a
     * retry, unless {@link Lease#done} was called.
     *
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @return the lease
     * @throws InterruptedException this thread was interrupted, while it waited
     * @throws HeldException others hold the resource; or {@link DuplicateException}, {@link StaleException}, {@link
     *     EarlyException}
     */
    public Lease acquire(String resource, LockOptions options) throws InterruptedException {
        return grants.lease(resource, options, Runnable::run).await();
    }

    /**
     * Does what {@link #acquire} does, without a thread that waits. Cancelled, it leaves the queue.
     *
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @return the lease
     */
    public CompletableFuture<Lease> acquireAsync(String resource, LockOptions options) {
        return grants.lease(resource, options, this.options.executor);
    }

    /**
     * Does what {@link #acquire} does, and returns a refusal as a value.
     *
     * @param resource what to lock, 1 to 512 bytes
     * @param options how
     * @return the lease, or why there is none
     * @throws InterruptedException this thread was interrupted, while it waited
     */
    public Acquired tryAcquire(String resource, LockOptions options) throws InterruptedException {
        try {
            return new Acquired.Granted(acquire(resource, options));
        } catch (HeldException held) {
            return new Acquired.Held(held.holder());
        } catch (DuplicateException duplicate) {
            return new Acquired.Duplicate();
        } catch (StaleException stale) {
            return new Acquired.Stale(stale.completedVersion());
        } catch (EarlyException early) {
            return new Acquired.Early(early.completedVersion());
        }
    }

    /**
     * Processes an event once, in two phases, in this thread. If the work returns, the key and {@link Claim#result} are
     * remembered, otherwise the key is freed, so that a redelivery is processed.
     *
     * @param <E> what the work may throw
     * @param key of the event, 1 to 512 bytes
     * @param options how
     * @param work the work
     * @throws E what the work throws
     * @throws InterruptedException this thread was interrupted, while it waited
     * @throws DuplicateException it was processed before; or {@link InProgressException}, {@link MismatchException}
     * @throws LeaseLostException the claim ended before the work did
     */
    public <E extends Exception> void once(String key, ClaimOptions options, Work<Claim, E> work)
            throws E, InterruptedException {
        Claim claim = grants.claim(key, options, Runnable::run).await();
        Scope.<Claim, Void, E>run(claim, Duration.ZERO, held -> {
            work.run(held);
            return null;
        });
    }

    /**
     * Does what {@link #once} does, for work that goes on elsewhere.
     *
     * @param <T> of the value
     * @param key of the event, 1 to 512 bytes
     * @param options how
     * @param work begins the work
     * @return completed when the key is remembered
     */
    public <T> CompletableFuture<T> onceAsync(
            String key, ClaimOptions options, Function<Claim, ? extends CompletionStage<T>> work) {
        return Scope.runAsync(grants.claim(key, options, this.options.executor), Duration.ZERO, work);
    }

    /**
     * Remembers a key at once. Only for work that may be lost: if the caller dies before it has worked, nobody does it.
     *
     * @param key of the event, 1 to 512 bytes
     * @param options how long to remember it, and its fingerprint
     * @return whether this caller is the first
     * @throws InterruptedException this thread was interrupted
     * @throws MismatchException it came with another fingerprint before
     */
    public boolean first(String key, ClaimOptions options) throws InterruptedException {
        return grants.first(key, options, Runnable::run).await();
    }

    /**
     * Does what {@link #first} does, without a thread that waits.
     *
     * @param key of the event, 1 to 512 bytes
     * @param options how long to remember it, and its fingerprint
     * @return whether this caller is the first
     */
    public CompletableFuture<Boolean> firstAsync(String key, ClaimOptions options) {
        return grants.first(key, options, this.options.executor);
    }

    /** Closes the connections once releases on their way are through. Leases still held run out by themselves. */
    @Override
    public void close() {
        service.close();
    }

    private static String host() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException nameless) {
            return "unknown";
        }
    }
}
