package dev.lockservice.sale;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * A delivery, understood.
 *
 * @param delta it tells a change, not a whole order
 * @param order what the books keep of a whole order; null for a delta
 * @param refunded in cents
 */
record Event(
        String topic,
        String shop,
        String gid,
        String key,
        long version,
        boolean delta,
        String bodyId,
        JsonObject order,
        int added,
        long refunded,
        List<Pieces> pieces) {
    static final String CREATED = "orders/create";
    /** What the books keep of a whole order, each as it is in the body. */
    private static final Set<String> KEPT = Set.of(
            "id",
            "name",
            "created_at",
            "updated_at",
            "cancelled_at",
            "financial_status",
            "fulfillment_status",
            "tags",
            "total_price",
            "email",
            "order_number");

    /** Pieces of a variant: out of stock when negative. */
    record Pieces(String variant, int count) {}

    boolean isCreated() {
        return topic.equals(CREATED);
    }

    static Event read(String headersText, String bodyText) {
        JsonObject headers = JsonParser.parseString(headersText).getAsJsonObject();
        JsonObject body = JsonParser.parseString(bodyText).getAsJsonObject();
        String topic = headers.get("X-Shopify-Topic").getAsString();
        return switch (topic) {
            case "orders/edited" -> edited(headers, topic, body.getAsJsonObject("order_edit"));
            case "refunds/create" -> refunded(headers, topic, body);
            default -> whole(headers, topic, body);
        };
    }

    static JsonObject keep(JsonObject body) {
        JsonObject kept = new JsonObject();
        body.asMap().forEach((name, value) -> {
            if (KEPT.contains(name)) {
                kept.add(name, value);
            }
        });
        return kept;
    }

    private static Event edited(JsonObject headers, String topic, JsonObject edit) {
        int added = 0;
        for (JsonElement addition : edit.getAsJsonObject("line_items").getAsJsonArray("additions")) {
            added += addition.getAsJsonObject().get("delta").getAsInt();
        }
        return made(headers, topic, orderGid(edit), true, text(edit, "id"), null, added, 0, List.of());
    }

    private static Event refunded(JsonObject headers, String topic, JsonObject body) {
        List<Pieces> back = new ArrayList<>();
        long cents = 0;
        for (JsonElement each : body.getAsJsonArray("refund_line_items")) {
            JsonObject refund = each.getAsJsonObject();
            cents += Math.round(100 * refund.get("subtotal").getAsDouble());
            back.add(pieces(
                    refund.getAsJsonObject("line_item"), refund.get("quantity").getAsInt()));
        }
        return made(headers, topic, orderGid(body), true, text(body, "id"), null, 0, cents, back);
    }

    private static Event whole(JsonObject headers, String topic, JsonObject body) {
        List<Pieces> out = new ArrayList<>();
        if (topic.equals(CREATED)) {
            for (JsonElement each : body.getAsJsonArray("line_items")) {
                JsonObject line = each.getAsJsonObject();
                out.add(pieces(line, -line.get("quantity").getAsInt()));
            }
        }
        String gid = text(body, "admin_graphql_api_id");
        return made(headers, topic, gid, false, text(body, "id"), keep(body), 0, 0, out);
    }

    private static Event made(
            JsonObject headers,
            String topic,
            String gid,
            boolean delta,
            String bodyId,
            JsonObject order,
            int added,
            long refunded,
            List<Pieces> pieces) {
        String shop = text(headers, "X-Shopify-Shop-Domain");
        String key = shop + ":" + topic + ":" + text(headers, "X-Shopify-Webhook-Id");
        Instant at = OffsetDateTime.parse(text(headers, "X-Shopify-Triggered-At")).toInstant();
        long version = ChronoUnit.MICROS.between(Instant.EPOCH, at);
        return new Event(topic, shop, gid, key, version, delta, bodyId, order, added, refunded, pieces);
    }

    private static Pieces pieces(JsonObject line, int count) {
        return new Pieces("gid://shopify/ProductVariant/" + text(line, "variant_id"), count);
    }

    private static String orderGid(JsonObject body) {
        return "gid://shopify/Order/" + text(body, "order_id");
    }

    /** Ids are read as text: they have more digits than a double. */
    private static String text(JsonObject from, String name) {
        return from.get(name).getAsString();
    }
}
