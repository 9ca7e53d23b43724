package dev.lockservice.sale;

import com.google.gson.JsonObject;
import dev.lockservice.client.DuplicateException;
import dev.lockservice.client.EarlyException;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.LeaseLostException;
import dev.lockservice.client.ServiceException;
import dev.lockservice.client.StaleException;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/** Works on events; ../README.md of the workers says how. */
record Worker(Books books, Guard guard) {
    private static final long ORDER_MIN_MS = 100;
    private static final long ORDER_MAX_MS = 400;
    /** Some calls of the work outlast a lease that nobody renews. */
    private static final double SLOW = 0.004;

    private static final long SLOW_MS = 5_200;
    private static final long STOCK_MS = 2;

    /** There is no order yet: the lease ends as a retry. */
    private static final class NoOrderException extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    /** Works on a delivery, and says how it ended; empty: not now, it shall come back. */
    Optional<String> handle(String headers, String body) throws InterruptedException {
        Event event = Event.read(headers, body);
        try {
            boolean again = guard.order(event, () -> process(event));
            return Optional.of(again ? "in the document" : "done");
        } catch (DuplicateException duplicate) {
            return Optional.of("duplicate");
        } catch (StaleException stale) {
            return Optional.of("stale");
        } catch (EarlyException early) {
            books.count("early");
        } catch (HeldException held) {
            books.count("held");
        } catch (LeaseLostException lost) {
            books.count("leaselost");
        } catch (NoOrderException none) {
            books.count("no order yet");
        } catch (ServiceException fault) {
            books.count(fault.reason().isEmpty() ? "fault" : fault.reason());
        }
        return Optional.empty();
    }

    private boolean process(Event event) throws InterruptedException {
        String key = "order:" + event.gid();
        Optional<JsonObject> known = books.load(key);
        if (known.isEmpty() && !event.isCreated()) {
            throw new NoOrderException();
        }
        think();
        Document document =
                known.map(Document::new).orElseGet(() -> new Document(event.gid(), books.nextNumber()));
        boolean again = document.has(event);
        if (!again) {
            document.apply(event, askShop(document, event));
            books.store(key, document.fields());
        }
        // A worker may have died after the write, so what follows is done again, under the order's number.
        if (event.isCreated()) {
            books.tell(event.gid(), document.number());
        }
        for (Event.Pieces pieces : event.pieces()) {
            guard.stock(event, pieces.variant(), () -> move(event, document, pieces));
        }
        return again;
    }

    /** Asks for the order as it is, after two events of one instant; null: there is no need, or no answer. */
    private JsonObject askShop(Document document, Event event) {
        if (!document.isTie(event)) {
            return null;
        }
        books.count("tie");
        return books.load("shop:" + event.gid()).map(Event::keep).orElse(null);
    }

    private boolean move(Event event, Document document, Event.Pieces pieces) throws InterruptedException {
        String key = "stock:" + pieces.variant();
        Stock stock = books.load(key).map(Stock::new).orElseGet(Stock::new);
        Thread.sleep(STOCK_MS);
        String name = document.number() + (pieces.count() > 0 ? "/" + event.bodyId() : "");
        boolean moved = stock.move(name, pieces.count());
        if (moved) {
            books.store(key, stock.fields());
        }
        return moved;
    }

    /** Calls the carrier, the tax office and the books. */
    private static void think() throws InterruptedException {
        ThreadLocalRandom random = ThreadLocalRandom.current();
        Thread.sleep(random.nextDouble() < SLOW ? SLOW_MS : random.nextLong(ORDER_MIN_MS, ORDER_MAX_MS));
    }
}
