package jetstream

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/push"
)

// Kind is what the documents of one bucket are.
type Kind string

// The kinds of documents. Each has a bucket of its name, with one key per document: its own key in base32.
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

func (k Kind) bucket() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: string(k), Description: "records of push sources: " + kinds[k], History: 1, Storage: jetstream.FileStorage}
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
	kv, err := s.js.KeyValue(ctx, string(kind))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", kind, err)
	}
	return &Documents{s: s, kind: kind, kv: kv}, nil
}

func documentKey(key string) string { return noPadding.EncodeToString([]byte(key)) }

// Put implements push.Documents.
func (d *Documents) Put(ctx context.Context, key string, value []byte, was uint64) (uint64, error) {
	now, err := d.s.put(ctx, d.kv, documentKey(key), value, was)
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
	_, err := d.s.remove(ctx, string(d.kind), documentKey(key), was)
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
	err = d.s.each(ctx, d.kv, func(e jetstream.KeyValueEntry) error {
		key, err := noPadding.DecodeString(strings.ToUpper(e.Key()))
		if err != nil {
			return err
		}
		all = append(all, push.Document{Key: string(key), Value: e.Value(), Revision: e.Revision()})
		return nil
	})
	return all, err
}
