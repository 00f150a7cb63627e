package gateway

import (
	"context"

	"thaw/push"
)

// Records are the stored APIs and what they share. gatewayapi changes them, a Server serves them.
type Records struct {
	APIs   *push.Table[API]     // by ID
	Shared *push.Table[Account] // by key/ID, plan/ID, domain/NAME
}

// OpenRecords reads them.
func OpenRecords(ctx context.Context, apis, shared push.Documents) (*Records, error) {
	a, err := push.OpenTable[API](ctx, apis)
	if err != nil {
		return nil, err
	}
	s, err := push.OpenTable[Account](ctx, shared)
	if err != nil {
		return nil, err
	}
	return &Records{APIs: a, Shared: s}, nil
}
