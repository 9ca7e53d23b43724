package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// kept is what the books keep of a whole order, each as it is in the body.
var kept = []string{
	"id", "name", "created_at", "updated_at", "cancelled_at", "financial_status", "fulfillment_status", "tags",
	"total_price", "email", "order_number",
}

const created = "orders/create"

// pieces of a variant: out of stock when negative.
type pieces struct {
	variant string
	count   int
}

// event is a delivery, understood.
type event struct {
	topic, shop, gid, key string
	version               int64
	delta                 bool
	bodyID                json.Number
	order                 map[string]json.RawMessage
	added                 int
	refunded              int64
	pieces                []pieces
}

type line struct {
	VariantID json.Number `json:"variant_id"`
	Quantity  int         `json:"quantity"`
}

type refund struct {
	ID      json.Number `json:"id"`
	OrderID json.Number `json:"order_id"`
	Lines   []struct {
		Subtotal float64 `json:"subtotal"`
		Quantity int     `json:"quantity"`
		LineItem line    `json:"line_item"`
	} `json:"refund_line_items"`
}

type edit struct {
	Edit struct {
		ID        json.Number `json:"id"`
		OrderID   json.Number `json:"order_id"`
		LineItems struct {
			Additions []struct {
				Delta int `json:"delta"`
			} `json:"additions"`
		} `json:"line_items"`
	} `json:"order_edit"`
}

func read(headers, body []byte) (*event, error) {
	var named map[string]string
	if err := json.Unmarshal(headers, &named); err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339Nano, named["X-Shopify-Triggered-At"])
	if err != nil {
		return nil, err
	}
	e := &event{topic: named["X-Shopify-Topic"], shop: named["X-Shopify-Shop-Domain"], version: at.UnixMicro()}
	e.key = fmt.Sprintf("%s:%s:%s", e.shop, e.topic, named["X-Shopify-Webhook-Id"])
	switch e.topic {
	case "orders/edited":
		return e, e.readEdit(body)
	case "refunds/create":
		return e, e.readRefund(body)
	}
	return e, e.readOrder(body)
}

func (e *event) readEdit(body []byte) error {
	var read edit
	if err := json.Unmarshal(body, &read); err != nil {
		return err
	}
	e.delta, e.bodyID, e.gid = true, read.Edit.ID, orderGID(read.Edit.OrderID)
	for _, addition := range read.Edit.LineItems.Additions {
		e.added += addition.Delta
	}
	return nil
}

func (e *event) readRefund(body []byte) error {
	var read refund
	if err := json.Unmarshal(body, &read); err != nil {
		return err
	}
	e.delta, e.bodyID, e.gid = true, read.ID, orderGID(read.OrderID)
	for _, refunded := range read.Lines {
		e.refunded += int64(math.Round(100 * refunded.Subtotal))
		e.pieces = append(e.pieces, pieces{variantGID(refunded.LineItem.VariantID), refunded.Quantity})
	}
	return nil
}

// readOrder goes through the body once: it is long, and most of it is not kept.
func (e *event) readOrder(body []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return err
	}
	e.order = only(fields)
	if err := errors.Join(
		json.Unmarshal(fields["id"], &e.bodyID), json.Unmarshal(fields["admin_graphql_api_id"], &e.gid),
	); err != nil || e.topic != created {
		return err
	}
	var items []line
	if err := json.Unmarshal(fields["line_items"], &items); err != nil {
		return err
	}
	for _, item := range items {
		e.pieces = append(e.pieces, pieces{variantGID(item.VariantID), -item.Quantity})
	}
	return nil
}

// keep returns what the books keep of a whole order.
func keep(body []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	return only(fields), nil
}

func only(fields map[string]json.RawMessage) map[string]json.RawMessage {
	found := make(map[string]json.RawMessage, len(kept))
	for _, name := range kept {
		if text, ok := fields[name]; ok {
			found[name] = text
		}
	}
	return found
}

func orderGID(id json.Number) string   { return "gid://shopify/Order/" + id.String() }
func variantGID(id json.Number) string { return "gid://shopify/ProductVariant/" + id.String() }
