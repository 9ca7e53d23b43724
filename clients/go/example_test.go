package lockservice_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	lockservice "lockservice.dev/clients/go"
)

var ctx = context.Background()

func connect() *lockservice.Client {
	client, err := lockservice.New()
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// The lease is renewed while the work runs; nil releases it as done.
func ExampleClient_Do() {
	client := connect()
	defer client.Close()
	pack := func(_ context.Context, lease *lockservice.Lease) error {
		fmt.Println("packing", lease.Resource)
		return nil
	}
	err := client.Do(ctx, "order:1001", pack, lockservice.TTL(10*time.Second), lockservice.EventID("evt_31"))
	fmt.Println(err)
	// The same event comes a second time.
	err = client.Do(ctx, "order:1001", pack, lockservice.EventID("evt_31"))
	fmt.Println(errors.Is(err, lockservice.ErrDuplicate))
	// Output:
	// packing order:1001
	// <nil>
	// true
}

// A lease that is closed before it was said to be done is released for a retry.
func ExampleClient_Acquire() {
	client := connect()
	defer client.Close()
	lease, err := client.Acquire(ctx, "order:1002")
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Close()
	// Give the token to the store, which refuses a lower one than it has seen.
	fmt.Println(lease.FencingToken > 0, lease.Check())
	_, err = client.Acquire(ctx, "order:1002")
	var held *lockservice.HeldError
	fmt.Println(errors.As(err, &held), held.Holder.FencingToken == lease.FencingToken)
	fmt.Println(lease.Done(ctx))
	// Output:
	// true <nil>
	// true true
	// <nil>
}

// An update that arrives before the create it follows waits for it.
func ExampleAfterVersion() {
	client := connect()
	defer client.Close()
	apply := func(_ context.Context, lease *lockservice.Lease) error {
		fmt.Println("applied after", lease.CompletedVersion)
		return nil
	}
	update := []lockservice.CallOption{lockservice.Version(2), lockservice.AfterVersion(1)}
	fmt.Println(errors.Is(client.Do(ctx, "order:1003", apply, update...), lockservice.ErrEarly))
	fmt.Println(client.Do(ctx, "order:1003", apply, lockservice.Version(1)))
	fmt.Println(client.Do(ctx, "order:1003", apply, update...))
	// Output:
	// true
	// applied after -1
	// <nil>
	// applied after 1
	// <nil>
}

// Whoever comes later is told the result.
func ExampleClient_Once() {
	client := connect()
	defer client.Close()
	charge := func(_ context.Context, claim *lockservice.Claim) error {
		claim.Result = []byte("receipt 7")
		return nil
	}
	fmt.Println(client.Once(ctx, "shopify:evt_32", charge))
	var duplicate *lockservice.DuplicateError
	if errors.As(client.Once(ctx, "shopify:evt_32", charge), &duplicate) {
		fmt.Println("done before:", string(duplicate.Result))
	}
	// Output:
	// <nil>
	// done before: receipt 7
}

func ExampleShopifyDelivery() {
	header := http.Header{}
	header.Set("X-Shopify-Shop-Domain", "shop-1.myshopify.com")
	header.Set("X-Shopify-Topic", "orders/updated")
	header.Set("X-Shopify-Webhook-Id", "b54557e4")
	header.Set("X-Shopify-Triggered-At", "2024-05-06T10:45:17.912552336Z")
	body := `{"id": 820982911946154508, "admin_graphql_api_id": "gid://shopify/Order/820982911946154508"}`
	delivery, err := lockservice.ShopifyDelivery(header, []byte(body))
	fmt.Println(delivery.EventKey, delivery.Resource, *delivery.Version, err)
	// Output: shop-1.myshopify.com:orders/updated:b54557e4 gid://shopify/Order/820982911946154508 1714992317912552 <nil>
}
