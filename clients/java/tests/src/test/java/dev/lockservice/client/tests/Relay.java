package dev.lockservice.client.tests;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Passes connections on as they are, and counts them; closed, they end. */
final class Relay implements AutoCloseable {
    private final ServerSocket listener = new ServerSocket(0, 0, InetAddress.getLoopbackAddress());
    private final List<Socket> callers = new CopyOnWriteArrayList<>();
    private final String host;
    private final int port;

    Relay(String address) throws IOException {
        String[] parts = address.split(":");
        host = parts[0];
        port = Integer.parseInt(parts[1]);
        Tries.apart(() -> {
            while (true) {
                join(listener.accept());
            }
        });
    }

    String address() {
        return "127.0.0.1:" + listener.getLocalPort();
    }

    /** How many connections there have been. */
    int connections() {
        return callers.size();
    }

    /** How many of them last. */
    long open() {
        return callers.stream().filter(caller -> !caller.isClosed()).count();
    }

    private void join(Socket caller) throws IOException {
        callers.add(caller);
        Socket service = new Socket(host, port);
        pass(caller, service);
        pass(service, caller);
    }

    private static void pass(Socket from, Socket to) {
        Tries.apart(() -> {
            try (from;
                    to) {
                return from.getInputStream().transferTo(to.getOutputStream());
            }
        });
    }

    @Override
    public void close() throws IOException {
        listener.close();
        for (Socket each : callers) {
            each.close();
        }
    }
}
