package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/push"
)

// Kind is what documents are.
type Kind string

// pushBucket holds the records of all sources that push, because each bucket costs memory and files: KIND.KEY, the
// document's own key in base32.
var pushBucket = jetstream.KeyValueConfig{
	Bucket:      "push",
	Description: "records of push sources",
	History:     1,
	Storage:     jetstream.FileStorage,
}

// The kinds of documents.
const (
	Gateways  Kind = "gateways"  // APIs of API Gateway
	Plans     Kind = "plans"     // API keys, usage plans and domain names of API Gateway
	Topics    Kind = "topics"    // of SNS, and their subscriptions
	Buses     Kind = "buses"     // of EventBridge, and their rules
	Schedules Kind = "schedules" // of EventBridge Scheduler, and their groups
	Balancers Kind = "balancers" // load balancers in front of functions
	Triggers  Kind = "triggers"  // what else pushes: webhooks, folders
	Filters   Kind = "filters"   // subscription filters of log groups
)

var kinds = map[Kind]string{Gateways: "API", Plans: "API key, plan or domain", Topics: "topic", Buses: "bus",
	Schedules: "schedule", Triggers: "trigger", Filters: "subscription filter", Balancers: "load balancer"}

// describeDocument names a record of the bucket for people; empty: it is none.
func describeDocument(key string) string {
	kind, encoded, _ := strings.Cut(key, ".")
	name, err := noPadding.DecodeString(strings.ToUpper(encoded))
	if what := kinds[Kind(kind)]; what != "" && err == nil {
		return what + " " + string(name)
	}
	return ""
}

// Documents implements push.Documents.
type Documents struct {
	s    *Store
	kind Kind
	kv   jetstream.KeyValue
}

var _ push.Documents = (*Documents)(nil)

// Documents opens the records of one kind. They live as long as the Store.
func (s *Store) Documents(ctx context.Context, kind Kind) (*Documents, error) {
	kv, err := s.js.KeyValue(ctx, pushBucket.Bucket)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", pushBucket.Bucket, err)
	}
	return &Documents{s: s, kind: kind, kv: kv}, nil
}

func (d *Documents) key(key string) string {
	return string(d.kind) + "." + noPadding.EncodeToString([]byte(key))
}

// Put implements push.Documents.
func (d *Documents) Put(ctx context.Context, key string, value []byte, was uint64) (uint64, error) {
	now, err := d.s.put(ctx, d.kv, d.key(key), value, was)
	if isConflict(err) {
		return 0, push.ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("record of %s %s: %w", kinds[d.kind], key, err)
	}
	return now, nil
}

// Delete implements push.Documents.
func (d *Documents) Delete(ctx context.Context, key string, was uint64) error {
	_, err := d.s.remove(ctx, pushBucket.Bucket, d.key(key), was)
	if isConflict(err) {
		return push.ErrStale
	}
	if err != nil {
		return fmt.Errorf("deletion of %s %s: %w", kinds[d.kind], key, err)
	}
	return nil
}

// List implements push.Documents.
func (d *Documents) List(ctx context.Context) (all []push.Document, err error) {
	keys, err := d.kv.ListKeysFiltered(ctx, string(d.kind)+".*")
	if err != nil {
		return nil, fmt.Errorf("records of %s: %w", d.kind, err)
	}
	defer keys.Stop() //nolint:errcheck // nothing to stop when the connection is gone
	for stored := range keys.Keys() {
		e, err := d.kv.Get(ctx, stored)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", stored, err)
		}
		key, err := noPadding.DecodeString(strings.ToUpper(strings.TrimPrefix(stored, string(d.kind)+".")))
		if err != nil {
			d.s.log.Error("unreadable record", "key", stored, "error", err)
			continue
		}
		all = append(all, push.Document{Key: string(key), Value: e.Value(), Revision: e.Revision()})
	}
	return all, nil
}
