package dev.lockservice.sale;

import com.google.gson.JsonObject;

/** What is on hand of a variant, and which movement led to it, as JSON in the store. */
final class Stock {
    private static final int ON_HAND = 100_000;

    private final JsonObject fields;

    Stock(JsonObject fields) {
        this.fields = fields;
    }

    Stock() {
        fields = new JsonObject();
        fields.addProperty("on_hand", ON_HAND);
        fields.addProperty("moves", ";");
    }

    JsonObject fields() {
        return fields;
    }

    /** Moves pieces in or out under a name, and says whether that was new. */
    boolean move(String name, int count) {
        String moves = fields.get("moves").getAsString();
        if (moves.contains(";" + name + ":")) {
            return false;
        }
        fields.addProperty("on_hand", fields.get("on_hand").getAsInt() + count);
        fields.addProperty("moves", moves + name + ":" + count + ";");
        return true;
    }
}
