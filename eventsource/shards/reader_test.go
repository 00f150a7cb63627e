package shards

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thaw/eventsource"
)

// answer is one answer of the service.
type answer struct {
	records []string
	behind  time.Duration
	err     error
}

// service gives the answers of a list, and then nothing new. It notes when it was asked, and for which iterators.
type service struct {
	answers   []answer
	asked     []time.Duration
	iterators []eventsource.Start
	began     time.Time
	closed    bool // the last answer is the end of the shard
}

func (s *service) Iterator(_ context.Context, from eventsource.Start) (string, error) {
	s.iterators = append(s.iterators, from)
	return "it", nil
}

func (s *service) Fetch(context.Context, string, int) ([]*eventsource.Record, string, time.Duration, error) {
	s.asked = append(s.asked, time.Since(s.began))
	if len(s.answers) == 0 {
		return nil, "it", 0, nil
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	var all []*eventsource.Record
	for _, p := range a.records {
		all = append(all, &eventsource.Record{Position: p})
	}
	next := "it"
	if s.closed && len(s.answers) == 0 {
		next = ""
	}
	return all, next, a.behind, a.err
}

var pace = Pace{Base: time.Second, Idle: 4 * time.Second, Behind: 200 * time.Millisecond}

// S-069: a closed shard is read to its end; an iterator that has expired is made anew behind what was returned; who asks
// too often, or is far behind the end, asks at another pace.
func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{began: time.Now(), closed: true, answers: []answer{
			{records: []string{"1", "2", "3"}, behind: time.Minute}, {behind: time.Minute}, {err: ErrExpired}, {err: ErrBusy}, {records: []string{"4"}}, {},
		}}
		r := NewReader(s, eventsource.Start{At: eventsource.TrimHorizon}, pace, 10)
		var got []string
		for {
			all, err := r.Next(t.Context(), 2)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(all) == 0 || len(all) > 2 {
				t.Fatal(all, err)
			}
			for _, rec := range all {
				got = append(got, rec.Position)
			}
		}
		if !slices.Equal(got, []string{"1", "2", "3", "4"}) {
			t.Errorf("read %v", got)
		}
		if want := []eventsource.Start{{At: eventsource.TrimHorizon}, {At: eventsource.After, Position: "3"}}; !slices.Equal(s.iterators, want) {
			t.Errorf("iterators for %v, want %v", s.iterators, want)
		}
		want := []time.Duration{0, 200 * time.Millisecond, 400 * time.Millisecond, 400 * time.Millisecond, 2400 * time.Millisecond, 3400 * time.Millisecond}
		if !slices.Equal(s.asked, want) {
			t.Errorf("asked at %v, want %v", s.asked, want)
		}
		if _, err := r.Next(t.Context(), 1); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end: %v", err)
		}
	})
}

// A shard without records is asked less and less often, and at full pace as soon as there is one.
func TestIdlePace(t *testing.T) {
	for empty, want := range map[int]time.Duration{0: time.Second, 29: time.Second, 30: 2 * time.Second, 60: 4 * time.Second, 1000: 4 * time.Second} {
		if got := pace.after(empty); got != want {
			t.Errorf("after %d empty answers a pause of %v, want %v", empty, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &service{began: time.Now()}
		for range 100 {
			s.answers = append(s.answers, answer{})
		}
		s.answers = append(s.answers, answer{records: []string{"1"}}, answer{records: []string{"2"}})
		r := NewReader(s, eventsource.Start{At: eventsource.TrimHorizon}, pace, 10)
		for i := range 2 {
			if all, err := r.Next(t.Context(), 1); err != nil || all[0].Position != strconv.Itoa(i+1) {
				t.Fatal(all, err)
			}
		}
		if n := len(s.asked); s.asked[n-1]-s.asked[n-2] != time.Second {
			t.Errorf("after a record the shard is asked after %v", s.asked[n-1]-s.asked[n-2])
		}
	})
}

func TestReaderEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader(&service{began: time.Now()}, eventsource.Start{At: eventsource.TrimHorizon}, pace, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		if _, err := r.Next(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// How far behind reading is follows from the last answer, and grows while nobody asks.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{began: time.Now(), answers: []answer{{records: []string{"1"}, behind: time.Minute}, {records: []string{"2"}}}}
		r := NewReader(s, eventsource.Start{At: eventsource.TrimHorizon}, pace, 10)
		for _, c := range []struct {
			name string
			do   func()
			lag  int64
			want time.Duration
		}{
			{"before the first answer", func() {}, -1, -1},
			{"far from the end", func() { r.Next(t.Context(), 1) }, -1, time.Minute},
			{"at the end", func() { r.Next(t.Context(), 1) }, 0, 0},
			{"a moment later", func() { time.Sleep(10 * time.Second) }, 0, 0},
			{"when nobody reads", func() { time.Sleep(110 * time.Second) }, -1, 2 * time.Minute},
		} {
			c.do()
			if lag, behind := r.Lag(), r.Behind(); lag != c.lag || behind != c.want {
				t.Errorf("%s: lag %d, behind %v; want %d, %v", c.name, lag, behind, c.lag, c.want)
			}
		}
	})
}

// Many shards without records are asked less often each, and one with a record at full pace again.
func TestManyShardsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rest := &Rest{Each: 40 * time.Millisecond}
		p := Pace{Base: time.Second, Idle: 4 * time.Second, Rest: rest}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		all := make([]*service, 500)
		var readers sync.WaitGroup
		for i := range all {
			all[i] = &service{began: time.Now()}
			if i == 7 {
				all[i].answers = append(make([]answer, 60), answer{records: []string{"1"}})
			}
			readers.Go(func() {
				r := NewReader(all[i], eventsource.Start{At: eventsource.TrimHorizon}, p, 10)
				defer r.Close()
				r.Next(ctx, 1) //nolint:errcheck // nothing comes
			})
		}
		time.Sleep(17 * time.Minute)
		synctest.Wait()
		if n := rest.n.Load(); n != 499 {
			t.Errorf("%d shards rest when one has had a record", n)
		}
		cancel()
		readers.Wait()
		if n := rest.n.Load(); n != 0 {
			t.Errorf("%d shards rest that are not read", n)
		}
		asked := 0 // while it rested: 500 shards, 40 ms each, so every 20 seconds
		for _, at := range all[7].asked {
			if at > 5*time.Minute && at <= 7*time.Minute {
				asked++
			}
		}
		if asked != 6 {
			t.Errorf("one of 500 shards is asked %d times in two minutes", asked)
		}
	})
}
