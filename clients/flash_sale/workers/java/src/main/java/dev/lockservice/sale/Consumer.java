package dev.lockservice.sale;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import redis.clients.jedis.AbstractPipeline;
import redis.clients.jedis.RedisClient;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.params.XAutoClaimParams;
import redis.clients.jedis.params.XClaimParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.StreamEntry;

/** Keeps up to so many entries of the stream in work at once. */
final class Consumer {
    private static final String STREAM = "sale:events";
    private static final String GROUP = "workers";
    private static final int BATCH = 64;
    private static final int BLOCK_MS = 200;
    private static final long LOOK_MS = 250;
    /** An entry that its worker has not been heard of for this long is given to another. */
    private static final long SILENT_MS = 3_000;

    private static final long HEARTBEAT_MS = 1_000;
    /** One that cannot be worked on yet is claimed again after this long. */
    private static final long AGAIN_MS = 500;

    private final RedisClient redis;
    private final String name;
    private final Worker worker;
    private final Semaphore free;
    private final ExecutorService threads;
    private final Set<StreamEntryID> open = ConcurrentHashMap.newKeySet();
    private final CompletableFuture<Void> failed = new CompletableFuture<>();

    /** A part of the work, until it cannot go on. */
    private interface Part {
        void run() throws InterruptedException;
    }

    Consumer(RedisClient redis, String name, int slots, Worker worker) {
        this.redis = redis;
        this.name = name;
        this.worker = worker;
        free = new Semaphore(slots);
        threads = Executors.newFixedThreadPool(slots);
    }

    /** Works until something cannot go on, which it throws. */
    void run() {
        for (Part part : List.<Part>of(this::read, this::claim, this::keep)) {
            new Thread(() -> guarded(part)).start();
        }
        failed.join();
    }

    private void guarded(Part part) {
        try {
            part.run();
        } catch (RuntimeException | Error | InterruptedException broken) {
            failed.completeExceptionally(broken);
        }
    }

    private void read() throws InterruptedException {
        while (true) {
            int room = room();
            List<Map.Entry<String, List<StreamEntry>>> found = redis.xreadGroup(
                    GROUP,
                    name,
                    XReadGroupParams.xReadGroupParams().count(room).block(BLOCK_MS),
                    Map.of(STREAM, StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY));
            if (found != null) {
                for (Map.Entry<String, List<StreamEntry>> each : found) {
                    take(each.getValue());
                }
            }
        }
    }

    private void claim() throws InterruptedException {
        StreamEntryID start = new StreamEntryID();
        while (true) {
            XAutoClaimParams room = XAutoClaimParams.xAutoClaimParams().count(room());
            Map.Entry<StreamEntryID, List<StreamEntry>> found =
                    redis.xautoclaim(STREAM, GROUP, name, SILENT_MS, start, room);
            take(found.getValue());
            start = found.getKey();
            if (start.equals(new StreamEntryID())) {
                Thread.sleep(LOOK_MS);
            }
        }
    }

    /** Says that what is in work is heard of. */
    private void keep() throws InterruptedException {
        while (true) {
            Thread.sleep(HEARTBEAT_MS);
            List<StreamEntryID> names = List.copyOf(open);
            if (!names.isEmpty()) {
                heardOf(0, names);
            }
        }
    }

    private void heardOf(long idleMs, Collection<StreamEntryID> names) {
        XClaimParams idle = XClaimParams.xClaimParams().idle(idleMs);
        redis.xclaimJustId(STREAM, GROUP, name, 0, idle, names.toArray(StreamEntryID[]::new));
    }

    /** Waits for a free slot, and says how many there are. */
    private int room() throws InterruptedException {
        free.acquire();
        free.release();
        return Math.max(1, Math.min(free.availablePermits(), BATCH));
    }

    private void take(List<StreamEntry> entries) throws InterruptedException {
        for (StreamEntry entry : entries) {
            if (open.add(entry.getID())) {
                free.acquire();
                threads.execute(() -> guarded(() -> work(entry)));
            }
        }
    }

    private void work(StreamEntry entry) throws InterruptedException {
        try {
            Map<String, String> fields = entry.getFields();
            settle(entry.getID(), worker.handle(fields.get("headers"), fields.get("body")));
        } finally {
            open.remove(entry.getID());
            free.release();
        }
    }

    private void settle(StreamEntryID id, Optional<String> outcome) {
        if (outcome.isEmpty()) {
            redis.hincrBy("sale:outcomes", "handed back", 1);
            heardOf(SILENT_MS - AGAIN_MS, List.of(id));
            return;
        }
        // In this order: should the worker die on the way, the next XAUTOCLAIM tidies up.
        try (AbstractPipeline written = redis.pipelined()) {
            written.hincrBy("sale:outcomes", outcome.get(), 1);
            written.hincrBy("sale:shares", name, 1);
            written.xdel(STREAM, id);
            written.xack(STREAM, GROUP, id);
            written.sync();
        }
    }
}
