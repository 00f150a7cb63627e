package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/signing"
)

// signingBucket holds one key per code signing configuration: its ARN in base32.
var signingBucket = jetstream.KeyValueConfig{
	Bucket:      "signing",
	Description: "code signing configurations",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// SigningConfigs implements signing.Store.
type SigningConfigs struct {
	s  *Store
	kv jetstream.KeyValue
}

var _ signing.Store = (*SigningConfigs)(nil)

// SigningConfigs opens the code signing configurations. They live as long as the Store.
func (s *Store) SigningConfigs(ctx context.Context) (*SigningConfigs, error) {
	kv, err := s.js.KeyValue(ctx, signingBucket.Bucket)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", signingBucket.Bucket, err)
	}
	return &SigningConfigs{s: s, kv: kv}, nil
}

func signingKey(arn string) string { return noPadding.EncodeToString([]byte(arn)) }

// Put implements signing.Store.
func (s *SigningConfigs) Put(ctx context.Context, c *signing.Config) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("record of %s: %w", c.ARN, err)
	}
	now, err := s.s.put(ctx, s.kv, signingKey(c.ARN), b, c.Revision)
	if isConflict(err) {
		return signing.ErrStale
	}
	if err != nil {
		return fmt.Errorf("record of %s: %w", c.ARN, err)
	}
	c.Revision = now
	return nil
}

// Delete implements signing.Store.
func (s *SigningConfigs) Delete(ctx context.Context, c *signing.Config) error {
	_, err := s.s.remove(ctx, signingBucket.Bucket, signingKey(c.ARN), c.Revision)
	if isConflict(err) {
		return signing.ErrStale
	}
	if err != nil {
		return fmt.Errorf("deletion of %s: %w", c.ARN, err)
	}
	return nil
}

// List implements signing.Store.
func (s *SigningConfigs) List(ctx context.Context) (all []*signing.Config, err error) {
	err = s.s.each(ctx, s.kv, func(e jetstream.KeyValueEntry) error {
		c := new(signing.Config)
		if err := json.Unmarshal(e.Value(), c); err != nil {
			return err
		}
		if !strings.EqualFold(signingKey(c.ARN), e.Key()) {
			return errOtherKey
		}
		c.Revision = e.Revision()
		all = append(all, c)
		return nil
	})
	return all, err
}
