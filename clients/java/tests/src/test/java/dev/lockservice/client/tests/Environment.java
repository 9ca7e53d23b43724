package dev.lockservice.client.tests;

import dev.lockservice.client.Client;

/** Says what the environment says: a process cannot change its own. */
final class Environment {
    private Environment() {}

    public static void main(String[] arguments) {
        try (Client client = Client.create()) {
            System.out.println(client.address());
        } catch (IllegalArgumentException refused) {
            System.out.println(refused.getMessage());
        }
    }
}
