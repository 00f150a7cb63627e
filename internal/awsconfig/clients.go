package awsconfig

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Clients are those of one service, one for each region that is asked for. The zero value has none.
type Clients[C any] struct {
	mu  sync.Mutex
	all map[string]C
}

// In returns the client of a region, which is made when it is asked for first.
func (c *Clients[C]) In(ctx context.Context, region string, make func(aws.Config) C) (C, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, there := c.all[region]; there {
		return client, nil
	}
	cfg, err := Load(ctx, region)
	if err != nil {
		var none C
		return none, err
	}
	client := make(cfg)
	c.put(region, client)
	return client, nil
}

// Put sets the client of a region, as tests do.
func (c *Clients[C]) Put(region string, client C) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(region, client)
}

func (c *Clients[C]) put(region string, client C) {
	if c.all == nil {
		c.all = map[string]C{}
	}
	c.all[region] = client
}
