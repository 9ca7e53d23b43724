package lockservice

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Delivery is a webhook, as far as a lock needs it.
type Delivery struct {
	// EventKey is the same for every delivery of one event, and for no other event; for EventID, and for Once.
	EventKey string
	// Resource is the entity's global id, a string: numbers of 19 digits are not exact in every language.
	Resource string
	// Version is when the shop triggered it, in microseconds since 1970; nil: the shop did not say.
	Version *int64
}

const (
	topicHeader     = "X-Shopify-Topic"
	shopHeader      = "X-Shopify-Shop-Domain"
	webhookHeader   = "X-Shopify-Webhook-Id"
	eventHeader     = "X-Shopify-Event-Id"
	triggeredHeader = "X-Shopify-Triggered-At"
)

// ShopifyDelivery reads a Shopify webhook, whose signature has been checked. Header names may have any case.
// The body is JSON, as it came.
//
// The event's key is its shop, topic and webhook id. Without a webhook id it is shop, topic, event id, resource and
// moment: all events of one action of the merchant have the same event id. The error names what is missing or wrong.
func ShopifyDelivery(headers http.Header, body []byte) (Delivery, error) {
	named := map[string]string{}
	for name, texts := range headers {
		if len(texts) > 0 {
			named[strings.ToLower(name)] = texts[0]
		}
	}
	shop, err := part(named, shopHeader)
	if err != nil {
		return Delivery{}, err
	}
	topic, err := part(named, topicHeader)
	if err != nil {
		return Delivery{}, err
	}
	made := Delivery{}
	moment := named[strings.ToLower(triggeredHeader)]
	if moment != "" {
		at, err := time.Parse(time.RFC3339Nano, moment)
		if err != nil {
			return Delivery{}, fmt.Errorf("%s is no moment with a zone: %w", triggeredHeader, err)
		}
		// What is finer than a microsecond is left off, never rounded up: a version must not be one that comes later.
		version := at.UnixMicro()
		made.Version = &version
	}
	if made.Resource, err = resourceOf(body); err != nil {
		return Delivery{}, err
	}
	if named[strings.ToLower(webhookHeader)] != "" {
		id, err := part(named, webhookHeader)
		made.EventKey = shop + ":" + topic + ":" + id
		return made, err
	}
	if named[strings.ToLower(eventHeader)] == "" {
		return Delivery{}, fmt.Errorf("neither %s nor %s is there", webhookHeader, eventHeader)
	}
	if moment == "" {
		return Delivery{}, fmt.Errorf("without %s, %s is needed", webhookHeader, triggeredHeader)
	}
	id, err := part(named, eventHeader)
	made.EventKey = strings.Join([]string{shop, topic, id, made.Resource, moment}, ":")
	return made, err
}

func part(named map[string]string, name string) (string, error) {
	text := named[strings.ToLower(name)]
	switch {
	case text == "":
		return "", fmt.Errorf("%s is not there", name)
	case strings.Contains(text, ":"):
		// With a colon inside, two deliveries could have one key.
		return "", fmt.Errorf("%s is there with a colon", name)
	}
	return text, nil
}

func resourceOf(body []byte) (string, error) {
	var fields struct {
		Resource string `json:"admin_graphql_api_id"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		return "", fmt.Errorf("the body is no JSON object: %w", err)
	}
	if fields.Resource == "" {
		return "", errors.New("the body is no JSON object with admin_graphql_api_id")
	}
	return fields.Resource, nil
}
