package eventsourcetest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"thaw/eventsource"
	"thaw/eventsource/poller"
)

// Whoever asks is told what a mapping has in hand, what waits behind it, and what went wrong last; nothing of it is there
// any more when the pollers have ended.
func TestStatus(t *testing.T) {
	for _, kind := range []eventsource.Kind{eventsource.SQS, eventsource.Kinesis, eventsource.SelfManagedKafka} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := memoryFixture(kind)
				h := newHarness(t, f)
				hold := make(chan struct{})
				h.handle(func([]Seen) (string, bool, error) { <-hold; return "{}", false, nil })
				m := h.create(h.mapping(nil))
				status := func() poller.Status {
					synctest.Wait()
					all := h.service.Status(t.Context())
					if len(all) != 1 || all[0].Mapping.ID != m.ID {
						t.Fatalf("%+v", all)
					}
					return all[0]
				}
				queue := eventsource.TraitsOf(kind).IsQueue(m)
				if s := status(); s.Pollers == 0 || s.InFlight != 0 || s.Held != 0 || !s.Oldest.IsZero() || s.Last != nil || s.Trouble != nil || queue == (len(s.Shards) == 2) {
					t.Errorf("idle: %+v", s)
				}
				at := time.Now()
				f.Put(t, m, "a", body(1), body(2))
				if s := status(); s.InFlight != 1 || s.Held != 2 || s.Oldest.IsZero() || s.Oldest.Before(at) || !queue && s.Lag != 0 {
					t.Errorf("with two records: %+v", s)
				}
				close(hold)
				if s := status(); s.InFlight != 0 || s.Held != 0 || s.Last == nil || s.Last.Done != 2 || s.Last.Records != 2 || s.Trouble != nil {
					t.Errorf("done: %+v", s)
				}
				h.handle(func([]Seen) (string, bool, error) { return "", false, errors.New("no room") })
				f.Put(t, m, "a", body(3))
				if s := status(); s.Held == 0 && !queue || s.Trouble == nil || s.Trouble.Cause != poller.OfCapacity || s.Last.Done != 0 {
					t.Errorf("without capacity: %+v %+v", s, s.Trouble)
				}
				h.handle(func([]Seen) (string, bool, error) { return `{"errorMessage":"x"}`, true, nil })
				time.Sleep(time.Second)
				if s := status(); s.Trouble.Cause != poller.OfFunction || s.Last.RequestID == "" {
					t.Errorf("with a function that fails: %+v", s.Trouble)
				}
				h.handle(nil)
				time.Sleep(time.Second)
				f.Stop(t)
				time.Sleep(5 * time.Second)
				if s := status(); s.Trouble.Cause != poller.OfSource || s.Trouble.Text == "" {
					t.Errorf("without its source: %+v", s.Trouble)
				}
				f.Start(t)
				h.update(m, false, eventsource.Disabled)
				if s := status(); s.Pollers != 0 || s.Held != 0 || s.Lag != -1 || s.Shards != nil {
					t.Errorf("disabled: %+v", s)
				}
			})
		})
	}
}
