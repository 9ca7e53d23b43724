package dev.lockservice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * What waits to be sent. What keeps or ends a lease or a claim leaves first: others wait for a release, and a renewal
 * must not come too late. Otherwise they leave in the order in which they were asked for.
 */
final class Unsent {
    /** The service refuses more than 10,000 on one stream, and counts an operation until its answer has left. */
    static final int OPEN_MAX = 9_000;
    /** Room of those that keep or end a lease, or what waits for it would fill the stream for good. */
    static final int KEEPING_MAX = 500;

    private final int openMax;
    private final int keepingMax;
    private final Deque<Pending> keeping = new ArrayDeque<>();
    private final Deque<Pending> asking = new ArrayDeque<>();

    Unsent(int openMax, int keepingMax) {
        this.openMax = openMax;
        this.keepingMax = keepingMax;
    }

    void add(Pending pending) {
        (Operations.waits(pending.operation) ? asking : keeping).add(pending);
    }

    int size() {
        return keeping.size() + asking.size();
    }

    boolean isEmpty() {
        return size() == 0;
    }

    /** Says whether there is one that a stream has room for, on which so many are open. */
    boolean hasNext(int open) {
        return keeping.isEmpty() ? !asking.isEmpty() && open < openMax : open < openMax + keepingMax;
    }

    Pending next() {
        return keeping.isEmpty() ? asking.remove() : keeping.remove();
    }

    List<Pending> all() {
        List<Pending> found = new ArrayList<>(keeping);
        found.addAll(asking);
        return found;
    }

    void clear() {
        keeping.clear();
        asking.clear();
    }
}
