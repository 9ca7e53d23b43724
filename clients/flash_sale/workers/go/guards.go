package main

import (
	"context"
	"time"

	lockservice "lockservice.dev/clients/go"
)

const (
	orderTTL = 4 * time.Second
	stockTTL = 3 * time.Second
	wait     = 10 * time.Second
)

type work func(context.Context) error

// guard stands between the events of one order.
type guard interface {
	order(ctx context.Context, e *event, do work) error
	stock(ctx context.Context, e *event, variant string, do work) error
}

// leases has one lease an order, one a variant; both know which events they have seen.
type leases struct{ client *lockservice.Client }

func (l leases) order(ctx context.Context, e *event, do work) error {
	options := []lockservice.CallOption{lockservice.TTL(orderTTL), lockservice.Wait(wait), lockservice.EventID(e.key)}
	if !e.delta {
		options = append(options, lockservice.Version(e.version))
	}
	if e.topic != created {
		// Nothing before the order's creation.
		options = append(options, lockservice.AfterVersion(1))
	}
	return l.client.Do(ctx, e.shop+":"+e.gid, func(ctx context.Context, _ *lockservice.Lease) error { return do(ctx) }, options...)
}

func (l leases) stock(ctx context.Context, e *event, variant string, do work) error {
	resource := e.shop + ":" + variant
	held := func(ctx context.Context, _ *lockservice.Lease) error { return do(ctx) }
	return l.client.Do(ctx, resource, held, lockservice.TTL(stockTTL), lockservice.Wait(wait))
}

// nothing lets everybody in at once, as before the incident.
type nothing struct{}

func (nothing) order(ctx context.Context, _ *event, do work) error           { return do(ctx) }
func (nothing) stock(ctx context.Context, _ *event, _ string, do work) error { return do(ctx) }
