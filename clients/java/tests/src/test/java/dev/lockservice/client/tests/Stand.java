package dev.lockservice.client.tests;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/** The stand of clients/scenarios.md: services and proxies that can be broken. */
final class Stand {
    /** The offer of HTTP/2 that Java makes otherwise is one more thing that the stand could misunderstand. */
    private static final HttpClient HTTP =
            HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    private static final Duration ASK_TIMEOUT = Duration.ofSeconds(60);
    private static final String ADDRESS = address();
    private static Service shared;

    private Stand() {}

    private static String address() {
        // Java reads names from this file only: without it even localhost would be unknown.
        hosts("127.0.0.1 localhost\n");
        String given = System.getenv("LOCKSERVICE_STAND");
        return given != null ? given : start();
    }

    private static String start() {
        String python = System.getenv().getOrDefault("LOCKSERVICE_PYTHON", "../../../.venv/bin/python");
        try {
            Process stand = new ProcessBuilder(python, "-m", "lockservice_stand", "serve")
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            BufferedReader said = stand.inputReader();
            return said.readLine().replaceFirst("^stand ", "");
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    private static void hosts(String lines) {
        try {
            Files.writeString(Path.of(System.getProperty("jdk.net.hosts.file")), lines);
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    private static JsonObject ask(String method, String path, Map<String, ?> body) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(ADDRESS + path))
                .header("Content-Type", "application/json")
                .timeout(ASK_TIMEOUT)
                .method(method, HttpRequest.BodyPublishers.ofString(new Gson().toJson(body)))
                .build();
        try {
            HttpResponse<String> response = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() != 200) {
                throw new AssertionError(method + " " + path + ": " + response.body());
            }
            JsonElement said = JsonParser.parseString(response.body());
            return said.isJsonObject() ? said.getAsJsonObject() : new JsonObject();
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        } catch (InterruptedException interrupted) {
            throw new AssertionError(interrupted);
        }
    }

    /** A service that all tests share which break nothing. */
    static synchronized Service common() {
        if (shared == null) {
            shared = service(1, "");
        }
        return shared;
    }

    static Service service(int replicas, String tls, String... tenants) {
        JsonObject made = ask("POST", "/services", Map.of("replicas", replicas, "tls", tls, "tenants", tenants));
        try {
            hosts(Files.readString(Path.of(made.get("hosts").getAsString())));
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
        return new Service(made);
    }

    static Proxy proxy(String address) {
        return new Proxy(ask("POST", "/proxies", Map.of("address", address)));
    }

    static String stranger(String kind) {
        return ask("POST", "/strangers", Map.of("kind", kind)).get("address").getAsString();
    }

    /** Replicas of the test's own; closed, they end. */
    record Service(JsonObject made) implements AutoCloseable {
        String address(int replica) {
            JsonArray addresses = made.getAsJsonArray("addresses");
            return addresses.get(replica).getAsString();
        }

        String address() {
            return address(0);
        }

        /** One name for all replicas, without the name server that Java cannot be told. */
        String target() {
            return made.get("target").getAsString().replaceFirst("^dns://[^/]*/", "dns:///");
        }

        Path file(String name) {
            return Path.of(made.get(name).getAsString());
        }

        String token(String tenant) {
            return made.getAsJsonObject("tokens").get(tenant).getAsString();
        }

        void act(int replica, String action) {
            ask("POST", "/services/" + made.get("id").getAsString() + "/" + replica + "/" + action, Map.of());
        }

        @Override
        public void close() {
            ask("DELETE", "/services/" + made.get("id").getAsString(), Map.of());
        }
    }

    /** A call that a proxy has seen. */
    record Seen(String method, byte[] request, boolean unary) {}

    /** Stands between a client and a replica; closed, it ends. */
    record Proxy(JsonObject made) implements AutoCloseable {
        String address() {
            return made.get("address").getAsString();
        }

        private String path() {
            return "/proxies/" + made.get("id").getAsString();
        }

        void fault(String fault, String method, int times) {
            ask("POST", path() + "/faults", Map.of("fault", fault, "method", method, "times", times));
        }

        void letGo() {
            ask("POST", path() + "/let_go", Map.of());
        }

        int count(String what) {
            return ask("GET", path(), Map.of()).get(what).getAsInt();
        }

        List<Seen> calls() {
            List<Seen> found = new ArrayList<>();
            for (JsonElement each : ask("GET", path(), Map.of()).getAsJsonArray("calls")) {
                JsonObject call = each.getAsJsonObject();
                found.add(new Seen(
                        call.get("method").getAsString(),
                        Base64.getDecoder().decode(call.get("request").getAsString()),
                        call.get("unary").getAsBoolean()));
            }
            return found;
        }

        List<Seen> calls(String method) {
            return calls().stream().filter(call -> call.method().equals(method)).toList();
        }

        @Override
        public void close() {
            ask("DELETE", path(), Map.of());
        }
    }
}
