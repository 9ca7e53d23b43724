package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

type payload struct {
	ID        json.Number `json:"id"`
	GID       string      `json:"admin_graphql_api_id"`
	OrderID   json.Number `json:"order_id"`
	LineItems []line      `json:"line_items"`
	Refunded  []struct {
		Subtotal float64 `json:"subtotal"`
		Quantity int     `json:"quantity"`
		LineItem line    `json:"line_item"`
	} `json:"refund_line_items"`
	Edit *struct {
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
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	switch e.topic {
	case "orders/edited":
		e.delta, e.bodyID, e.gid = true, p.Edit.ID, orderGID(p.Edit.OrderID)
		for _, addition := range p.Edit.LineItems.Additions {
			e.added += addition.Delta
		}
	case "refunds/create":
		e.delta, e.bodyID, e.gid = true, p.ID, orderGID(p.OrderID)
		for _, refund := range p.Refunded {
			e.refunded += int64(math.Round(100 * refund.Subtotal))
			e.pieces = append(e.pieces, pieces{variantGID(refund.LineItem.VariantID), refund.Quantity})
		}
	default:
		e.bodyID, e.gid = p.ID, p.GID
		if e.order, err = keep(body); err != nil {
			return nil, err
		}
		if e.topic == created {
			for _, item := range p.LineItems {
				e.pieces = append(e.pieces, pieces{variantGID(item.VariantID), -item.Quantity})
			}
		}
	}
	return e, nil
}

func keep(body []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if !slices.Contains(kept, name) {
			delete(fields, name)
		}
	}
	return fields, nil
}

func orderGID(id json.Number) string   { return "gid://shopify/Order/" + id.String() }
func variantGID(id json.Number) string { return "gid://shopify/ProductVariant/" + id.String() }
