package tests

import (
	"errors"
	"strings"
	"testing"
	"time"

	lockservice "lockservice.dev/clients/go"
)

func TestS39Tenants(t *testing.T) {
	own := start(t, 1, "server", "shop", "bank")
	at := func(token string, more ...lockservice.Option) *lockservice.Client {
		return connect(t, append(more, lockservice.Address(own.address()), lockservice.TLS(own.CA, "", ""),
			lockservice.Token(token), lockservice.RetryFor(2*time.Second))...)
	}
	for name, more := range map[string][]lockservice.Option{"sessions": nil, "unary": {lockservice.Unary()}} {
		shop, bank, resource := at(own.Tokens["shop"], more...), at(own.Tokens["bank"], more...), fresh()
		mine, theirs := must(shop.Acquire(ctx, resource))(t), must(bank.Acquire(ctx, resource))(t)
		if _, err := shop.Acquire(ctx, resource); !errors.Is(err, lockservice.ErrHeld) {
			t.Error(name, err)
		}
		refused(t, shop, "stock:1", "RESOURCE_FORBIDDEN")
		for _, token := range []string{"", strings.Repeat("x", 43)} {
			refused(t, at(token, more...), resource, "CREDENTIAL_MISSING")
		}
		if err := errors.Join(mine.Done(ctx), theirs.Done(ctx)); err != nil {
			t.Error(name, err)
		}
	}
}

func refused(t *testing.T, client *lockservice.Client, resource, reason string) {
	t.Helper()
	_, err := client.Acquire(ctx, resource)
	var fault *lockservice.ServiceError
	if !errors.Is(err, lockservice.ErrNotAllowed) || !errors.As(err, &fault) || fault.Reason != reason {
		t.Errorf("%v, wanted %s", err, reason)
	}
}
