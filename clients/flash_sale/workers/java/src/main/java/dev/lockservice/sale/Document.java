package dev.lockservice.sale;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** What the books have of an order, as JSON in the store. */
final class Document {
    private static final Set<String> PAID = Set.of("paid", "partially_refunded", "refunded");

    private final JsonObject fields;

    Document(JsonObject fields) {
        this.fields = fields;
    }

    Document(String gid, long number) {
        fields = new JsonObject();
        fields.addProperty("gid", gid);
        fields.addProperty("number", number);
        fields.addProperty("version", 0L);
        fields.add("states", new JsonArray());
        fields.add("order", new JsonObject());
        fields.addProperty("added", 0);
        fields.addProperty("refunded", 0L);
        fields.add("applied", new JsonArray());
    }

    JsonObject fields() {
        return fields;
    }

    long number() {
        return fields.get("number").getAsLong();
    }

    boolean has(Event event) {
        return fields.getAsJsonArray("applied").contains(new JsonPrimitive(event.key()))
                || (!event.delta() && event.version() < version());
    }

    /** Says whether there is another whole order of the same instant: nobody can tell which is newer. */
    boolean isTie(Event event) {
        return !event.delta() && event.version() == version();
    }

    /** Changes as an event says; fresh, if not null, is the order as the shop answers when it is asked. */
    void apply(Event event, JsonObject fresh) {
        fields.getAsJsonArray("applied").add(event.key());
        if (event.delta()) {
            fields.addProperty("added", fields.get("added").getAsInt() + event.added());
            fields.addProperty("refunded", fields.get("refunded").getAsLong() + event.refunded());
            return;
        }
        JsonObject order = fresh != null ? fresh : event.order();
        fields.add("order", order);
        fields.addProperty("version", event.version());
        JsonArray seen = fields.getAsJsonArray("states");
        List<String> gone = states(order);
        if (isBeginning(seen, gone)) {
            JsonArray all = new JsonArray();
            gone.forEach(all::add);
            fields.add("states", all);
        } else if (!seen.get(seen.size() - 1).getAsString().equals(gone.get(gone.size() - 1))) {
            seen.add(gone.get(gone.size() - 1));
        }
    }

    private long version() {
        return fields.get("version").getAsLong();
    }

    private static boolean isBeginning(JsonArray seen, List<String> gone) {
        if (seen.size() > gone.size()) {
            return false;
        }
        for (int index = 0; index < seen.size(); index++) {
            if (!seen.get(index).getAsString().equals(gone.get(index))) {
                return false;
            }
        }
        return true;
    }

    /** Lists what an order has gone through when it looks like this. */
    private static List<String> states(JsonObject order) {
        List<String> gone = new ArrayList<>(List.of("created"));
        if (PAID.contains(text(order, "financial_status"))) {
            gone.add("paid");
        }
        if (text(order, "fulfillment_status").equals("fulfilled")) {
            gone.add("fulfilled");
        }
        if (!text(order, "cancelled_at").isEmpty()) {
            gone.add("cancelled");
        }
        return gone;
    }

    private static String text(JsonObject order, String name) {
        JsonElement found = order.get(name);
        return found == null || found.isJsonNull() ? "" : found.getAsString();
    }
}
