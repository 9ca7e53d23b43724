package dev.lockservice.sale;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.util.Optional;
import redis.clients.jedis.RedisClient;

/** The books in Redis: documents that are read, changed and written back. */
record Books(RedisClient redis) {
    Optional<JsonObject> load(String key) {
        return Optional.ofNullable(redis.get(key)).map(text -> JsonParser.parseString(text)
                .getAsJsonObject());
    }

    void store(String key, JsonObject fields) {
        redis.set(key, fields.toString());
    }

    long nextNumber() {
        return redis.incr("sale:numbers");
    }

    /** Tells the world outside, which takes nothing back. */
    void tell(String gid, long number) {
        redis.rpush(
                "sale:outside",
                "[\"warehouse\",\"" + gid + "\"," + number + "]",
                "[\"confirmation\",\"" + gid + "\"," + number + "]");
    }

    void count(String what) {
        redis.hincrBy("sale:outcomes", what, 1);
    }
}
