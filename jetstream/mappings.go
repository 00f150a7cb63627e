package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/eventsource"
)

// mappingsBucket holds one key per event source mapping: its UUID.
var mappingsBucket = jetstream.KeyValueConfig{
	Bucket:      "mappings",
	Description: "event source mappings",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// checkpointsBucket holds how far the shards of mappings are done with: UUID.SHARD, the shard in base32.
var checkpointsBucket = jetstream.KeyValueConfig{
	Bucket:      "checkpoints",
	Description: "how far event source mappings have come",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// Mappings implements eventsource.Records and eventsource.Checkpoints.
type Mappings struct {
	s            *Store
	kv, progress jetstream.KeyValue
}

var (
	_ eventsource.Records     = (*Mappings)(nil)
	_ eventsource.Checkpoints = (*Mappings)(nil)
)

// Mappings opens the records of event source mappings. They live as long as the Store.
func (s *Store) Mappings(ctx context.Context) (*Mappings, error) {
	m := &Mappings{s: s}
	for name, kv := range map[string]*jetstream.KeyValue{mappingsBucket.Bucket: &m.kv, checkpointsBucket.Bucket: &m.progress} {
		var err error
		if *kv, err = s.js.KeyValue(ctx, name); err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return m, nil
}

// Put implements eventsource.Records.
func (s *Mappings) Put(ctx context.Context, m *eventsource.Mapping) (uint64, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("record of mapping %s: %w", m.ID, err)
	}
	now, err := s.s.put(ctx, s.kv, string(m.ID), b, m.Revision)
	if isConflict(err) {
		return 0, eventsource.ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("record of mapping %s: %w", m.ID, err)
	}
	return now, nil
}

// Delete implements eventsource.Records.
func (s *Mappings) Delete(ctx context.Context, id eventsource.ID) error {
	if _, err := s.s.remove(ctx, mappingsBucket.Bucket, string(id), 0); err != nil {
		return fmt.Errorf("deletion of mapping %s: %w", id, err)
	}
	return nil
}

// List implements eventsource.Records.
func (s *Mappings) List(ctx context.Context) (all []*eventsource.Mapping, err error) {
	err = s.s.each(ctx, s.kv, func(e jetstream.KeyValueEntry) error {
		m := new(eventsource.Mapping)
		if err := json.Unmarshal(e.Value(), m); err != nil {
			return err
		}
		if string(m.ID) != e.Key() {
			return errOtherKey
		}
		m.Revision = e.Revision()
		all = append(all, m)
		return nil
	})
	return all, err
}

func checkpointKey(id eventsource.ID, shard string) string {
	return string(id) + "." + noPadding.EncodeToString([]byte(shard))
}

// Load implements eventsource.Checkpoints.
func (s *Mappings) Load(ctx context.Context, id eventsource.ID) (map[string]eventsource.Checkpoint, error) {
	keys, err := s.keys(ctx, id)
	if err != nil {
		return nil, err
	}
	all := map[string]eventsource.Checkpoint{}
	for _, key := range keys {
		e, err := s.progress.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		var c eventsource.Checkpoint
		if err == nil {
			err = json.Unmarshal(e.Value(), &c)
		}
		shard, bad := noPadding.DecodeString(strings.TrimPrefix(key, string(id)+"."))
		if err = errors.Join(err, bad); err != nil { // not left out: reading would begin elsewhere
			return nil, fmt.Errorf("checkpoint %s: %w", key, err)
		}
		c.Revision = e.Revision()
		all[string(shard)] = c
	}
	return all, nil
}

func (s *Mappings) keys(ctx context.Context, id eventsource.ID) (all []string, err error) {
	keys, err := s.progress.ListKeysFiltered(ctx, string(id)+".*")
	if err != nil {
		return nil, fmt.Errorf("checkpoints of mapping %s: %w", id, err)
	}
	defer keys.Stop() //nolint:errcheck // nothing to stop when the connection is gone
	for key := range keys.Keys() {
		all = append(all, key)
	}
	return all, nil
}

// Save implements eventsource.Checkpoints.
func (s *Mappings) Save(ctx context.Context, id eventsource.ID, shard string, c eventsource.Checkpoint) (uint64, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("checkpoint of mapping %s: %w", id, err)
	}
	now, err := s.s.put(ctx, s.progress, checkpointKey(id, shard), b, c.Revision)
	if isConflict(err) {
		return 0, eventsource.ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint of mapping %s: %w", id, err)
	}
	return now, nil
}

// Drop implements eventsource.Checkpoints.
func (s *Mappings) Drop(ctx context.Context, id eventsource.ID, shards ...string) (err error) {
	var keys []string
	for _, sh := range shards {
		keys = append(keys, checkpointKey(id, sh))
	}
	if len(shards) == 0 {
		if keys, err = s.keys(ctx, id); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if _, err := s.s.remove(ctx, checkpointsBucket.Bucket, key, 0); err != nil {
			return fmt.Errorf("deletion of checkpoint %s: %w", key, err)
		}
	}
	return nil
}
