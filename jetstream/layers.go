package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/layer"
)

// layersBucket holds one key per layer: ACCOUNT.REGION.NAME.
var layersBucket = jetstream.KeyValueConfig{
	Bucket:      "layers",
	Description: "layers and their published versions",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// LayerRecords implements layer.Store.
type LayerRecords struct {
	s  *Store
	kv jetstream.KeyValue
}

var _ layer.Store = (*LayerRecords)(nil)

// LayerRecords opens the records of layers. They live as long as the Store.
func (s *Store) LayerRecords(ctx context.Context) (*LayerRecords, error) {
	kv, err := s.js.KeyValue(ctx, layersBucket.Bucket)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", layersBucket.Bucket, err)
	}
	return &LayerRecords{s: s, kv: kv}, nil
}

func layerKey(k layer.Key) string { return k.Account + "." + k.Region + "." + k.Name }

// Put implements layer.Store.
func (s *LayerRecords) Put(ctx context.Context, r *layer.Record, was uint64) (uint64, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("record of layer %s: %w", r.Name, err)
	}
	now, err := s.s.put(ctx, s.kv, layerKey(r.Key), b, was)
	if isConflict(err) {
		return 0, layer.ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("record of layer %s: %w", r.Name, err)
	}
	return now, nil
}

// List implements layer.Store.
func (s *LayerRecords) List(ctx context.Context) (map[layer.Key]layer.Stored, error) {
	all := map[layer.Key]layer.Stored{}
	err := s.s.each(ctx, s.kv, func(e jetstream.KeyValueEntry) error {
		r := new(layer.Record)
		if err := json.Unmarshal(e.Value(), r); err != nil {
			return err
		}
		if layerKey(r.Key) != e.Key() {
			return errOtherKey
		}
		all[r.Key] = layer.Stored{Record: r, Revision: e.Revision()}
		return nil
	})
	return all, err
}

// describeLayer names the record of a layer as people know it.
func describeLayer(key string) string {
	p := strings.Split(key, ".")
	if len(p) != 3 {
		return key
	}
	return fmt.Sprintf("layer %s in %s", p[2], p[1])
}

// layerBlobs calls f with the hash of every package that the record of a layer names.
func layerBlobs(value []byte, f func(sha256 string)) {
	var r layer.Record
	if json.Unmarshal(value, &r) != nil {
		return
	}
	for _, v := range r.Versions {
		f(v.SHA256)
	}
}
