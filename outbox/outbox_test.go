package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thaw/internal/golden"
)

// store is one in memory.
type store struct {
	mu   sync.Mutex
	last uint64
	all  map[uint64]*Letter
}

func (s *store) Put(_ context.Context, l *Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	l.Seq = s.last
	c := *l
	s.all[l.Seq] = &c
	return nil
}

func (s *store) Get(_ context.Context, seq uint64) (*Letter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.all[seq]; l != nil {
		return l, nil
	}
	return nil, ErrNone
}

func (s *store) Remove(_ context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, seq)
	return nil
}

func (s *store) All(_ context.Context, f func(*Letter)) error {
	for _, seq := range slices.Sorted(maps.Keys(s.all)) {
		f(s.all[seq])
	}
	return nil
}

func TestNext(t *testing.T) {
	var b strings.Builder
	began := time.Unix(0, 0)
	for _, f := range []error{errors.New("down"), &Failure{Throttling, false, errors.New("slow")}, &Failure{NoResource, true, errors.New("none")}} {
		for _, max := range []int{0, 2, 185} {
			for _, n := range []int{1, 2, 3, 11, 186} {
				for _, age := range []time.Duration{0, time.Hour, 24 * time.Hour} {
					l := &Letter{Accepted: began, MaxAttempts: max, MaxAge: 24 * time.Hour, DeadLetter: "queue", About: map[string]string{"RULE_ARN": "rule"}}
					step := Next(l, n, began.Add(age), f, 0)
					fmt.Fprintf(&b, "%v, attempt %d of 1+%d, %v old: ", f, n, max, age)
					if step.Again > 0 {
						fmt.Fprintf(&b, "again in %v\n", step.Again)
						continue
					}
					fmt.Fprintln(&b, Dead(l, f, n, step.Condition, began).Attributes)
				}
			}
		}
	}
	golden.Equal(t, "testdata/next.golden", b.String())
	if Next(&Letter{MaxAttempts: 9, MaxAge: time.Hour, Accepted: began}, 3, began, errors.New("x"), 0.999).Again < 2*time.Second {
		t.Error("the jitter takes more than half")
	}
}

// What fails is sent again, other targets meanwhile; what ends goes to its queue; a restart sends what is there.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{all: map[uint64]*Letter{}}
		var mu sync.Mutex
		var sent []string
		down := true
		o := Options{Store: s, Log: slog.New(slog.DiscardHandler), Send: func(_ context.Context, l *Letter) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case l.To == "gone":
				return &Failure{NoResource, true, errors.New("no such queue")}
			case l.To == "slow" && down:
				return errors.New("down")
			}
			sent = append(sent, l.To+"="+string(l.Body)+" "+l.Attributes["ERROR_CODE"]+l.Attributes["EXHAUSTED_RETRY_CONDITION"])
			return nil
		}}
		b, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		put := func(l Letter) {
			l.Accepted = time.Now()
			if err := b.Accept(t.Context(), &l); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			put(Letter{To: "slow", Body: fmt.Append(nil, "slow", i), MaxAttempts: 185, MaxAge: time.Hour})
		}
		put(Letter{To: "slow", Body: []byte("short"), Original: []byte("as it came"), MaxAttempts: 2, MaxAge: time.Hour, DeadLetter: "dead"})
		put(Letter{To: "gone", Body: []byte("x"), MaxAttempts: 185, MaxAge: time.Hour, DeadLetter: "dead"})
		put(Letter{To: "gone", Body: []byte("lost"), MaxAttempts: 185, MaxAge: time.Hour})
		put(Letter{To: "quick", Body: []byte("y")})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		slices.Sort(sent)
		if want := []string{"dead=as it came SDK_CLIENT_ERRORMaximumRetryAttempts", "dead=x NO_RESOURCE", "quick=y "}; !slices.Equal(sent, want) {
			t.Fatalf("%q", sent)
		}
		b.Close()
		if len(s.all) != 20 {
			t.Fatal(len(s.all))
		}
		sent, down = nil, false
		if b, err = Open(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(sent) != 20 || len(s.all) != 0 || len(b.lanes) != 0 {
			t.Error(len(sent), len(s.all), len(b.lanes))
		}
		b.Close()
	})
}
