package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.lockservice.client.ClaimOptions;
import dev.lockservice.client.Client;
import dev.lockservice.client.Delivery;
import dev.lockservice.client.DuplicateException;
import dev.lockservice.client.InProgressException;
import dev.lockservice.client.MismatchException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class EventsTest extends Tries {
    private static final ClaimOptions CLAIM = ClaimOptions.defaults();

    private final String address = Stand.common().address();
    private final Client client = connect(address);
    private final String key = fresh();

    @Test
    void s17OneOfTen() throws Exception {
        List<CompletableFuture<Boolean>> all = new ArrayList<>();
        for (int number = 0; number < 10; number++) {
            all.add(client.firstAsync(key, CLAIM));
        }
        int first = 0;
        for (CompletableFuture<Boolean> each : all) {
            first += each.get() ? 1 : 0;
        }
        assertEquals(1, first);
    }

    @Test
    void s18TwoPhases() throws Exception {
        List<CompletableFuture<Void>> waited = new ArrayList<>();
        client.once(key, CLAIM.ttl(s(20)), claim -> {
            InProgressException busy =
                    assertThrows(InProgressException.class, () -> client.once(key, CLAIM, other -> {}));
            assertTrue(busy.retryAfter().compareTo(s(18)) > 0);
            waited.add(apart(() -> {
                client.once(key, CLAIM.wait(s(10)), other -> {});
                return null;
            }));
            claim.result("receipt 7".getBytes(StandardCharsets.UTF_8));
        });
        DuplicateException duplicate = (DuplicateException)
                assertThrows(Exception.class, waited.get(0)::get).getCause();
        assertEquals("receipt 7", new String(duplicate.result(), StandardCharsets.UTF_8));
    }

    @Test
    void s19Claims() throws Exception {
        ClaimOptions one = CLAIM.fingerprint(new byte[] {1});
        ClaimOptions two = CLAIM.fingerprint(new byte[] {2});
        Exception no = new Exception("no");
        assertSame(no, assertThrows(Exception.class, () -> client.once(key, CLAIM, claim -> {
            throw no;
        })));
        client.once(key, one.ttl(ms(400)), claim -> {
            Thread.sleep(1200);
            assertThrows(InProgressException.class, () -> client.once(key, one, other -> {}));
            claim.check();
        });
        assertThrows(MismatchException.class, () -> client.once(key, two, claim -> {}));
        assertEquals(
                "late",
                client.onceAsync(fresh(), CLAIM, claim -> CompletableFuture.completedFuture("late"))
                        .get());
    }

    @Test
    void s20ALostReplyLeavesFirstFirst() throws Exception {
        Stand.Proxy far = opened(Stand.proxy(address));
        Client asking = connect(far.address());
        far.fault("lose_reply", "Dedupe", 1);
        assertTrue(asking.first(key, CLAIM));
        assertEquals(2, far.calls("Dedupe").size());
    }

    @Test
    void s21Deliveries() throws Exception {
        JsonObject vectors = JsonParser.parseString(Files.readString(Path.of("../../deliveries.json")))
                .getAsJsonObject();
        for (JsonElement each : vectors.getAsJsonArray("deliveries")) {
            JsonObject vector = each.getAsJsonObject();
            JsonElement version = vector.get("version");
            Delivery expected = new Delivery(
                    vector.get("event_key").getAsString(),
                    vector.get("resource").getAsString(),
                    version.isJsonNull() ? OptionalLong.empty() : OptionalLong.of(version.getAsLong()));
            assertEquals(expected, read(vector), vector.get("name").getAsString());
        }
        for (JsonElement each : vectors.getAsJsonArray("refused")) {
            JsonObject vector = each.getAsJsonObject();
            String name = vector.get("name").getAsString();
            String said = assertThrows(IllegalArgumentException.class, () -> read(vector), name)
                    .getMessage();
            assertTrue(said.contains(vector.get("says").getAsString()), name + ": " + said);
        }
    }

    private static Delivery read(JsonObject vector) {
        Map<String, String> headers = new HashMap<>();
        vector.getAsJsonObject("headers").asMap().forEach((name, text) -> headers.put(name, text.getAsString()));
        return Delivery.ofShopify(headers, vector.get("body").getAsString().getBytes(StandardCharsets.UTF_8));
    }
}
