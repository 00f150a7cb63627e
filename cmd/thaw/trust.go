package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"thaw/admin"
)

// transport is how a server is called; nil: as any other. One of this host that speaks TLS has told how to know it.
func (s found) transport(ctx context.Context) aws.HTTPClient {
	if s.Client == nil || s.closed != nil {
		return nil
	}
	h, err := s.Health(ctx)
	if err != nil || h.Endpoint != s.endpoint {
		return nil
	}
	return trusting(h)
}

func trusting(h admin.Health) aws.HTTPClient {
	if c := h.HTTPClient(); c != nil {
		return c
	}
	return nil
}
