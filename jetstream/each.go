package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

var errOtherKey = errors.New("the record is of another key")

// each calls f with every record of a bucket. One that f cannot read is logged and left out: a bad record must not keep
// the others from being served.
func (s *Store) each(ctx context.Context, kv jetstream.KeyValue, f func(e jetstream.KeyValueEntry) error) error {
	keys, err := kv.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("bucket %s: %w", kv.Bucket(), err)
	}
	defer keys.Stop() //nolint:errcheck // nothing to stop when the connection is gone
	for key := range keys.Keys() {
		e, err := kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bucket %s, record %s: %w", kv.Bucket(), key, err)
		}
		if err := f(e); err != nil {
			s.log.Error("unreadable record", "key", key, "error", err)
		}
	}
	return nil
}
