package dev.lockservice.client;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonParseException;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.format.DateTimeParseException;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * A webhook, as far as a lock needs it.
 *
 * @param eventKey the same for every delivery of one event, and for no other event; for {@link LockOptions#eventId} and
 *     {@link Client#once}
 * @param resource the entity's global id, a string: numbers of 19 digits are not exact in every language
 * @param version when the shop triggered it, in microseconds since 1970; empty: the shop did not say
 */
public record Delivery(String eventKey, String resource, OptionalLong version) {
    private static final String TOPIC = "X-Shopify-Topic";
    private static final String SHOP = "X-Shopify-Shop-Domain";
    private static final String WEBHOOK = "X-Shopify-Webhook-Id";
    private static final String EVENT = "X-Shopify-Event-Id";
    private static final String TRIGGERED = "X-Shopify-Triggered-At";

    /**
     * Reads a Shopify webhook, whose signature has been checked.
     *
     * <p>The event's key is its shop, topic and webhook id. Without a webhook id it is shop, topic, event id, resource
     * and moment: all events of one action of the merchant have the same event id.
     *
     * @param header looks a header up whatever its case, as {@code request::getHeader} does; null: it is not there
     * @param body JSON, as it came
     * @return what a lock needs
     * @throws IllegalArgumentException names what is missing or wrong
     */
    public static Delivery ofShopify(UnaryOperator<String> header, byte[] body) {
        String begin = part(header, SHOP) + ":" + part(header, TOPIC) + ":";
        String moment = text(header, TRIGGERED);
        OptionalLong version = moment.isEmpty() ? OptionalLong.empty() : OptionalLong.of(micros(moment));
        String resource = resource(body);
        if (!text(header, WEBHOOK).isEmpty()) {
            return new Delivery(begin + part(header, WEBHOOK), resource, version);
        }
        if (text(header, EVENT).isEmpty()) {
            throw new IllegalArgumentException("neither " + WEBHOOK + " nor " + EVENT + " is there");
        }
        if (moment.isEmpty()) {
            throw new IllegalArgumentException("without " + WEBHOOK + ", " + TRIGGERED + " is needed");
        }
        return new Delivery(String.join(":", begin + part(header, EVENT), resource, moment), resource, version);
    }

    /**
     * Reads a Shopify webhook, as {@link #ofShopify(UnaryOperator, byte[])} does.
     *
     * @param headers by name; names may have any case
     * @param body JSON, as it came
     * @return what a lock needs
     * @throws IllegalArgumentException names what is missing or wrong
     */
    public static Delivery ofShopify(Map<String, String> headers, byte[] body) {
        Map<String, String> found = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        found.putAll(headers);
        return ofShopify(found::get, body);
    }

    private static String text(UnaryOperator<String> header, String name) {
        String text = header.apply(name);
        return text == null ? "" : text;
    }

    private static String part(UnaryOperator<String> header, String name) {
        String text = text(header, name);
        if (text.isEmpty()) {
            throw new IllegalArgumentException(name + " is not there");
        }
        if (text.contains(":")) {
            // With a colon inside, two deliveries could have one key.
            throw new IllegalArgumentException(name + " is there with a colon");
        }
        return text;
    }

    private static long micros(String moment) {
        try {
            // What is finer than a microsecond is left off, never rounded up: a version must not be a later one.
            return ChronoUnit.MICROS.between(
                    Instant.EPOCH, OffsetDateTime.parse(moment).toInstant());
        } catch (DateTimeParseException wrong) {
            throw new IllegalArgumentException(TRIGGERED + " is no moment with a zone: " + moment, wrong);
        }
    }

    private static String resource(byte[] body) {
        JsonReader reader = new JsonReader(new StringReader(new String(body, StandardCharsets.UTF_8)));
        reader.setStrictness(Strictness.STRICT);
        try {
            JsonElement root = new Gson().getAdapter(JsonElement.class).read(reader);
            if (reader.peek() != JsonToken.END_DOCUMENT) {
                throw new IllegalArgumentException("the body is no JSON object: something follows it");
            }
            JsonElement id = root.isJsonObject() ? root.getAsJsonObject().get("admin_graphql_api_id") : null;
            if (id == null || !id.isJsonPrimitive() || id.getAsString().isEmpty()) {
                throw new IllegalArgumentException("the body is no JSON object with admin_graphql_api_id");
            }
            return id.getAsString();
        } catch (IOException | JsonParseException wrong) {
            throw new IllegalArgumentException("the body is no JSON object: " + wrong.getMessage(), wrong);
        }
    }
}
