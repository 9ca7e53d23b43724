package dev.lockservice.client.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.lockservice.client.Client;
import dev.lockservice.client.ClientOptions;
import dev.lockservice.client.HeldException;
import dev.lockservice.client.Lease;
import dev.lockservice.client.NotAllowedException;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CredentialsTest extends Tries {
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void s39Tenants(boolean unary) throws Exception {
        Stand.Service own = opened(Stand.service(1, "server", "shop", "bank"));
        ClientOptions secure = at(own.address()).tls(own.file("ca")).retryFor(s(2));
        ClientOptions options = unary ? secure.unary() : secure;
        Client shop = connect(options.token(own.token("shop")));
        Client bank = connect(options.token(own.token("bank")));
        String resource = fresh();
        try (Lease mine = shop.acquire(resource, LOCK);
                Lease theirs = bank.acquire(resource, LOCK)) {
            assertThrows(HeldException.class, () -> shop.acquire(resource, LOCK));
            mine.done();
            theirs.done();
        }
        isRefused(shop, "stock:1", "RESOURCE_FORBIDDEN");
        isRefused(connect(options), resource, "CREDENTIAL_MISSING");
        isRefused(connect(options.token("x".repeat(43))), resource, "CREDENTIAL_MISSING");
    }

    private static void isRefused(Client client, String resource, String reason) {
        NotAllowedException refused = assertThrows(NotAllowedException.class, () -> client.acquire(resource, LOCK));
        assertEquals(reason, refused.reason());
    }
}
