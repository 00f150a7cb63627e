package eventsource

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// S-004, S-005, S-007: a batch goes out at its size, or when its window has passed since its first record.
func TestABatchGoesOut(t *testing.T) {
	b := NewBatcher(Envelope{Head: `{"Records":`, Tail: `}`}, Limits{Count: 3, Window: time.Minute})
	if b.Ready(noon.Add(time.Hour)) {
		t.Error("an empty batch goes out")
	}
	all := recs("1", "2", "3", "4")
	b.Put(all[0], noon)
	b.Put(all[1], noon.Add(50*time.Second))
	if due, ok := b.Due(); !ok || !due.Equal(noon.Add(time.Minute)) || b.Ready(noon.Add(59*time.Second)) || !b.Ready(due) {
		t.Errorf("due at %v, %v", due, ok)
	}
	b.Put(all[2], noon)
	if !b.Ready(noon) || b.Put(all[3], noon) {
		t.Error("a full batch takes another record, or stays")
	}
	if got := ids(b.Take()); got != "123" || b.Ready(noon.Add(time.Hour)) {
		t.Errorf("took %s", got)
	}
}

// S-006: the event is never longer than it may be, to the byte, with and without groups.
func TestABatchIsCutBeforeItIsTooLong(t *testing.T) {
	for _, e := range []Envelope{{Head: `{"Records":`, Tail: `}`}, {Head: `{"eventSource":"aws:kafka","records":`, Tail: `}`, Groups: true}} {
		for bytes := 60; bytes < 400; bytes++ {
			b := NewBatcher(e, Limits{Count: 100, Bytes: bytes})
			n := 0
			for i := range 40 {
				r := &Record{Event: []byte(`{"n":"` + strings.Repeat("x", i%7) + `"}`), Group: fmt.Sprintf("t-%d", i%3)}
				if b.Oversized(r) {
					t.Fatalf("%d bytes: a record of %d is too long", bytes, len(r.Event))
				}
				if !b.Put(r, noon) {
					break
				}
				n++
			}
			event := e.Event(b.Take())
			if len(event) > bytes || !json.Valid(event) || n == 0 {
				t.Fatalf("%d bytes: %d records are %d bytes: %s", bytes, n, len(event), event)
			}
			if bytes-len(event) > 40 {
				t.Errorf("%d bytes: %d are left", bytes, bytes-len(event))
			}
		}
	}
	b := NewBatcher(Envelope{Head: `{"Records":`, Tail: `}`}, Limits{Count: 10})
	if !b.Oversized(&Record{Event: make([]byte, 6<<20)}) || b.Oversized(&Record{Event: make([]byte, 6<<20-20)}) {
		t.Error("6 MB is not the bound")
	}
}

func TestEvents(t *testing.T) {
	a, b, c := &Record{Event: []byte(`1`), Group: "t-0"}, &Record{Event: []byte(`2`), Group: "t-1"}, &Record{Event: []byte(`3`), Group: "t-0"}
	if got := string((Envelope{Head: `{"Records":`, Tail: `}`}).Event([]*Record{a, b, c})); got != `{"Records":[1,2,3]}` {
		t.Error(got)
	}
	if got := string((Envelope{Head: `{"x":1,"records":`, Tail: `}`, Groups: true}).Event([]*Record{a, b, c})); got != `{"x":1,"records":{"t-0":[1,3],"t-1":[2]}}` {
		t.Error(got)
	}
}

// Source: section 3.2. A queue that has something to give gets five pollers at once and 300 more each minute; one that is
// empty has one.
func TestScale(t *testing.T) {
	s := NewScale(&Mapping{Kind: SQS}, noon)
	s.Add()
	grow := func(at time.Time) {
		for s.Found(at) {
			s.Add()
		}
	}
	at := noon.Add(time.Hour) // idle for an hour is no reason for more
	if grow(at); s.Pollers() != 5 {
		t.Errorf("%d pollers at first, want 5", s.Pollers())
	}
	for range 60 {
		at = at.Add(time.Second)
		grow(at)
	}
	if s.Pollers() != 305 {
		t.Errorf("%d pollers after a minute, want 305", s.Pollers())
	}
	at = at.Add(time.Second)
	s.Refused(at)
	if s.Found(at) {
		t.Error("more pollers for a function that was throttled this moment")
	}
	for range 600 {
		at = at.Add(time.Second)
		grow(at)
	}
	if s.Pollers() != 1250 {
		t.Errorf("%d pollers at most, want 1250", s.Pollers())
	}
	for s.Idle(at) {
	}
	if s.Pollers() != 1 {
		t.Errorf("%d pollers of an empty queue, want 1", s.Pollers())
	}
	if grow(at.Add(time.Hour)); s.Pollers() != 5 {
		t.Errorf("%d pollers at first, want 5", s.Pollers())
	}
	for _, c := range []struct {
		m          Mapping
		least, max int
	}{
		{Mapping{Kind: SQS, Options: Options{MaxConcurrency: 2}}, 1, 2}, // S-046
		{Mapping{Kind: RabbitMQ}, 1, 1},
		{Mapping{Kind: SQS, Options: Options{Pollers: &Pollers{Min: 3, Max: 4}}}, 3, 40},
	} {
		s = NewScale(&c.m, noon)
		for range s.Least() {
			s.Add()
		}
		if at = noon; s.Pollers() != c.least {
			t.Errorf("%+v: %d pollers, want %d", c.m.Options, s.Pollers(), c.least)
		}
		for range 1000 {
			at = at.Add(time.Second)
			grow(at)
		}
		if s.Pollers() != c.max {
			t.Errorf("%+v: %d pollers at most, want %d", c.m.Options, s.Pollers(), c.max)
		}
	}
}
