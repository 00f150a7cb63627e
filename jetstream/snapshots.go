package jetstream

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/snapshot"
)

// snapshotsBucket holds what is true of each version's snapshots: one key per version, its ARN in base32 (an ARN has characters that keys may not have).
var snapshotsBucket = jetstream.KeyValueConfig{
	Bucket:      "snapshots",
	Description: "which generation of which version is current",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// SnapshotRecords implements snapshot.Records.
type SnapshotRecords struct {
	s  *Store
	kv jetstream.KeyValue
}

var _ snapshot.Records = (*SnapshotRecords)(nil)

// SnapshotRecords opens the records of snapshots. They live as long as the Store.
func (s *Store) SnapshotRecords(ctx context.Context) (*SnapshotRecords, error) {
	kv, err := s.js.KeyValue(ctx, snapshotsBucket.Bucket)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", snapshotsBucket.Bucket, err)
	}
	return &SnapshotRecords{s: s, kv: kv}, nil
}

var noPadding = base32.StdEncoding.WithPadding(base32.NoPadding)

func snapshotKey(v snapshot.Version) string { return noPadding.EncodeToString([]byte(v.ARN())) }

// Get implements snapshot.Records.
func (s *SnapshotRecords) Get(ctx context.Context, v snapshot.Version) (snapshot.Record, snapshot.Revision, error) {
	e, err := s.kv.Get(ctx, snapshotKey(v))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return snapshot.Record{}, 0, snapshot.ErrNotFound
	}
	if err != nil {
		return snapshot.Record{}, 0, fmt.Errorf("snapshot record of %s: %w", v, err)
	}
	var r snapshot.Record
	if err := json.Unmarshal(e.Value(), &r); err != nil {
		return snapshot.Record{}, 0, fmt.Errorf("snapshot record of %s: %w", v, err)
	}
	return r, snapshot.Revision(e.Revision()), nil
}

// Put implements snapshot.Records.
func (s *SnapshotRecords) Put(ctx context.Context, r snapshot.Record, was snapshot.Revision) (snapshot.Revision, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("snapshot record of %s: %w", r.Version, err)
	}
	now, err := s.s.put(ctx, s.kv, snapshotKey(r.Version), b, uint64(was))
	if isConflict(err) {
		return 0, snapshot.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("snapshot record of %s: %w", r.Version, err)
	}
	return snapshot.Revision(now), nil
}

// Delete implements snapshot.Records.
func (s *SnapshotRecords) Delete(ctx context.Context, v snapshot.Version, was snapshot.Revision) error {
	if _, _, err := s.Get(ctx, v); errors.Is(err, snapshot.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	_, err := s.s.remove(ctx, snapshotsBucket.Bucket, snapshotKey(v), uint64(was))
	if isConflict(err) {
		return snapshot.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("deletion of the snapshot record of %s: %w", v, err)
	}
	return nil
}

// List implements snapshot.Records.
func (s *SnapshotRecords) List(ctx context.Context) ([]snapshot.Record, error) {
	keys, err := s.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshot records: %w", err)
	}
	defer keys.Stop()
	var list []snapshot.Record
	for key := range keys.Keys() {
		arn, err := noPadding.DecodeString(strings.ToUpper(key))
		if err != nil {
			continue // not ours
		}
		v, err := snapshot.ParseVersion(string(arn))
		if err != nil {
			continue
		}
		r, _, err := s.Get(ctx, v)
		if errors.Is(err, snapshot.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}
