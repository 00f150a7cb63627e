package mongodb_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/mongotest"
	"thaw/eventsource/mongodb"
	"thaw/eventsource/poller"
	"thaw/function"
	"thaw/invoke"
)

var fn = function.Key{Account: "123456789012", Region: "eu-north-1", Name: "fn"}

// documents is a function that keeps which documents it was told of.
type documents struct {
	mu  sync.Mutex
	ids map[string]bool
}

// Invoke implements poller.Invoker.
func (d *documents) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	var e struct {
		Events []struct {
			Event struct {
				FullDocument struct {
					ID string `json:"_id"`
				}
			}
		}
	}
	if err := json.Unmarshal(r.Event, &e); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range e.Events {
		d.ids[one.Event.FullDocument.ID] = true
	}
	return &invoke.Result{Outcome: &function.Outcome{Payload: []byte("null")}, Version: &function.Version{Number: function.Latest}}, nil
}

func (d *documents) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ids[id]
}

// serve begins a server that stores the positions of idle streams that often.
func serve(t *testing.T, s *mongotest.Server, store *eventsourcetest.Server, to *documents, idle time.Duration) *poller.Service {
	t.Helper()
	view := function.NewView()
	view.Apply(function.Change{Revision: 1, Key: fn, Function: &function.Record{Key: fn, Partition: "aws", Incarnation: 1, Revision: 1,
		Latest: function.VersionRecord{Number: function.Latest, Config: function.Config{TimeoutSeconds: 1}}}})
	view.Loaded()
	service, err := poller.Open(t.Context(), poller.Options{Records: store, Checkpoints: store, Leases: store, Idle: idle,
		Drivers: map[eventsource.Kind]eventsource.Driver{eventsource.DocumentDB: mongodb.New(eventsourcetest.NewSecrets(nil), eventsourcetest.Endpoints{arn: s.URI()})},
		Invoker: to, View: view, Metrics: eventsourcetest.NoMetrics{}, Log: slog.New(slog.DiscardHandler),
		Reconnect: eventsource.Delays{First: 20 * time.Millisecond, Limit: 300 * time.Millisecond}, List: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// A stream without changes of its own keeps up with the cluster's log: a server that is killed then goes on when the log
// has lost the last change that was processed. Where nothing was stored in time, it says so.
func TestPositionOfAnIdleStream(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		idle time.Duration
		lost bool
	}{"stored now and then": {time.Nanosecond, false}, "not stored yet": {time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, mongotest.Options{Await: 20 * time.Millisecond})
			insert := func(collection, id string) {
				t.Helper()
				if err := s.Insert("shop", collection, bson.D{{Key: "_id", Value: id}}); err != nil {
					t.Fatal(err)
				}
			}
			stored, seen := eventsourcetest.NewStore(), &documents{ids: map[string]bool{}}
			m := mapping("orders")
			zero := 0
			m.ID, m.Function, m.Partition, m.State, m.Source.Start = "m", fn, "aws", eventsource.Creating, eventsource.TrimHorizon
			m.Options.BatchSize, m.Options.Window = 10, &zero
			server := stored.Server()
			service := serve(t, s, server, seen, one.idle)
			if _, err := service.Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			position := func() string {
				all, err := server.Load(t.Context(), m.ID)
				if err != nil {
					t.Fatal(err)
				}
				return all["change-stream"].Start.Position
			}
			insert("orders", "first")
			eventsourcetest.Until(t, "the first is seen, and stored", func() bool { return seen.has("first") && position() != "" })
			eventsourcetest.Until(t, "nothing waits", func() bool { return service.Status(t.Context())[0].Lag == 0 })
			before := position()
			insert("other", "of no interest")
			if !one.lost {
				eventsourcetest.Until(t, "a later position is stored", func() bool { return position() != before })
			}
			server.Die()
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			_ = service.Close(gone) // killed
			s.CutLog()
			insert("orders", "second")

			again := serve(t, s, stored.Server(), seen, one.idle)
			defer again.Close(context.Background()) //nolint:errcheck // of no interest any more
			if one.lost {
				eventsourcetest.Until(t, "the mapping says that changes are lost", func() bool {
					now, err := again.Get(m.ID)
					return err == nil && strings.Contains(now.Result, "no longer has the changes")
				})
				return
			}
			eventsourcetest.Until(t, "the second is seen", func() bool { return seen.has("second") })
		})
	}
}

// While a slow function keeps changes from being read, the age of the last one tells how far reading is behind.
func TestBehind(t *testing.T) {
	t.Parallel()
	now := &clock{t: time.Now().Add(-time.Hour)}
	s := start(t, mongotest.Options{Now: now.now, Await: 20 * time.Millisecond})
	for _, id := range []string{"1", "2"} {
		if err := s.Insert("shop", "orders", bson.D{{Key: "_id", Value: id}}); err != nil {
			t.Fatal(err)
		}
	}
	_, r := open(t, s, mapping("orders"), eventsource.Start{At: eventsource.TrimHorizon})
	told := func() (int64, time.Duration) { return r.Lag(), r.(poller.Behind).Behind() }
	if lag, behind := told(); lag != -1 || behind != -1 {
		t.Errorf("before the first: %d, %v", lag, behind)
	}
	eventsourcetest.Next(t, r, 1)
	if lag, behind := told(); lag != -1 || behind < time.Hour || behind > time.Hour+time.Minute {
		t.Errorf("behind the first: %d, %v", lag, behind)
	}
	eventsourcetest.Next(t, r, 1)
	if all, err := r.Next(t.Context(), 1); err != nil || len(all) > 0 {
		t.Fatal(all, err)
	}
	if lag, behind := told(); lag != 0 || behind != 0 {
		t.Errorf("at the end: %d, %v", lag, behind)
	}
}
