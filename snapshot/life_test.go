package snapshot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

func allStates() (list []snapshot.State) {
	for s := snapshot.State(0); !strings.HasPrefix(s.String(), "state "); s++ {
		list = append(list, s)
	}
	return list
}

func allEvents() (list []snapshot.Event) {
	for e := snapshot.Event(0); !strings.HasPrefix(e.String(), "event "); e++ {
		list = append(list, e)
	}
	return list
}

func TestNext(t *testing.T) {
	var table strings.Builder
	for _, s := range allStates() {
		for _, e := range allEvents() {
			to, do, err := snapshot.Next(s, e)
			if err != nil {
				fmt.Fprintf(&table, "%v + %v refused\n", s, e)
				if to != s || len(do) > 0 || !errors.As(err, new(*snapshot.BadMoveError)) {
					t.Errorf("%v + %v was refused (%v) yet did something", s, e, err)
				}
				continue
			}
			fmt.Fprintf(&table, "%v + %v -> %v %v\n", s, e, to, do)
			if s.HasCurrent() && !to.HasCurrent() && !slices.Contains(do, snapshot.RetireCurrent) {
				t.Errorf("%v + %v loses the current one without retiring it", s, e)
			}
			if !s.HasCurrent() && to.HasCurrent() && !slices.Contains(do, snapshot.Swap) {
				t.Errorf("%v + %v has a current one from nowhere", s, e)
			}
			if s.Busy() && !to.Busy() && e != snapshot.Verified && e != snapshot.MakeFailed && !slices.Contains(do, snapshot.AbortMaking) {
				t.Errorf("%v + %v forgets what is being made", s, e)
			}
		}
		if s != snapshot.Deleted {
			if to, _, err := snapshot.Next(s, snapshot.DeleteAsked); to != snapshot.Deleted || err != nil {
				t.Errorf("%v cannot be deleted", s)
			}
		}
		if s.Busy() {
			if to, _, err := snapshot.Next(s, snapshot.MakeFailed); to.Busy() || err != nil {
				t.Errorf("%v does not end when its making fails: %v, %v", s, to, err)
			}
		}
		var back snapshot.State
		if b, err := s.MarshalText(); err != nil || back.UnmarshalText(b) != nil || back != s {
			t.Errorf("%v became %v", s, back)
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}

// Random events: the record stays consistent, whatever comes in whatever order.
func TestRandomLives(t *testing.T) {
	reached := map[snapshot.State]bool{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		rec := snapshot.Record{Version: version(1)}
		now := testTime
		owned := map[snapshot.ID]bool{} // snapshots that exist somewhere
		var last snapshot.Generation
		events := allEvents()
		for range 60 {
			e := events[r.IntN(len(events))]
			if e == snapshot.DeleteAsked && r.IntN(20) > 0 {
				continue
			}
			now = now.Add(time.Duration(r.IntN(100)) * time.Second)
			before, _ := json.Marshal(rec)
			steps, err := rec.Move(e, now)
			if err != nil {
				if after, _ := json.Marshal(rec); string(after) != string(before) || len(steps) > 0 {
					t.Fatalf("seed %d: %v was refused and changed the record:\n%s\n%s", seed, e, before, after)
				}
				continue
			}
			reached[rec.State] = true
			for _, s := range steps {
				switch s.Action {
				case snapshot.StartMaking:
					owned[s.ID] = true
				case snapshot.Swap:
					if !owned[s.ID] {
						t.Fatalf("seed %d: %v of a snapshot that nobody made", seed, s.Action)
					}
				case snapshot.DropNext, snapshot.AbortMaking, snapshot.RetireCurrent:
					if s.ID == "" {
						t.Fatalf("seed %d: %v of nothing after %v", seed, s.Action, e)
					}
					delete(owned, s.ID)
				}
			}
			if e == snapshot.MakeFailed { // before files were committed there is nothing to drop
				owned = map[snapshot.ID]bool{}
				if rec.Current != nil {
					owned[rec.Current.ID] = true
				}
			}
			if rec.State.HasCurrent() != (rec.Current != nil) || rec.State.Busy() != (rec.Next != nil) {
				t.Fatalf("seed %d: %v with current %v and next %v", seed, rec.State, rec.Current, rec.Next)
			}
			if rec.LastGeneration < last || rec.Next != nil && rec.Next.Generation != rec.LastGeneration {
				t.Fatalf("seed %d: generation %d after %d", seed, rec.LastGeneration, last)
			}
			last = rec.LastGeneration
			want := 0
			for _, m := range []*snapshot.Meta{rec.Current, rec.Next} {
				if m != nil {
					want++
					if !owned[m.ID] {
						t.Fatalf("seed %d: the record names a snapshot that is gone", seed)
					}
				}
			}
			if len(owned) != want {
				t.Fatalf("seed %d: %d snapshots exist, %d are named after %v", seed, len(owned), want, e)
			}
		}
	}
	for _, s := range allStates() {
		if !reached[s] && s != snapshot.None {
			t.Errorf("no life reached %v", s)
		}
	}
}

// One version's whole life, with what is to be done at each step.
func TestALife(t *testing.T) {
	var out strings.Builder
	rec := snapshot.Record{Version: version(1)}
	now := testTime
	for _, step := range []struct {
		after time.Duration
		e     snapshot.Event
	}{
		{0, snapshot.Asked}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{8 * time.Minute, snapshot.RefreshDue}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{8 * time.Minute, snapshot.RefreshDue}, {time.Second, snapshot.MakeFailed},
		{2 * time.Second, snapshot.RefreshDue}, {time.Minute, snapshot.Expired}, {time.Second, snapshot.Made}, {time.Second, snapshot.MakeFailed},
		{4 * time.Second, snapshot.RefreshDue}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{time.Minute, snapshot.KeyChanged}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{time.Minute, snapshot.Evicted}, {time.Hour, snapshot.Invoked}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{15 * 24 * time.Hour, snapshot.Idle}, {time.Hour, snapshot.Invoked}, {time.Second, snapshot.Made}, {time.Second, snapshot.Verified},
		{time.Minute, snapshot.DeleteAsked},
	} {
		now = now.Add(step.after)
		steps, err := rec.Move(step.e, now)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%v: %v, generation %d, failures %d;", step.e, rec.State, rec.LastGeneration, rec.Failures)
		for _, s := range steps {
			fmt.Fprintf(&out, " %v", s.Action)
		}
		out.WriteByte('\n')
	}
	golden.Equal(t, "testdata/life.golden", out.String())
}

func TestARecordSaysWhatIsRestored(t *testing.T) {
	m := meta(1, 1)
	m.Expires = testTime.Add(10 * time.Minute)
	key := m.Key.Hash()
	rec := snapshot.Record{Version: version(1), State: snapshot.Current, Current: &m}
	for name, c := range map[string]struct {
		now  time.Time
		key  snapshot.KeyHash
		s    snapshot.State
		want bool
	}{
		"a current one":              {testTime, key, snapshot.Current, true},
		"just before its end":        {m.Expires.Add(-1), key, snapshot.Current, true},
		"at its end":                 {m.Expires, key, snapshot.Current, false},
		"while the next is verified": {testTime, key, snapshot.RefreshVerifying, true},
		"made by another key":        {testTime, "other", snapshot.Current, false},
		"lapsed":                     {testTime, key, snapshot.Lapsed, false},
	} {
		rec.State = c.s
		if got := rec.ForRestore(c.now, c.key); (got != nil) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if rec.Concerns("x") || (&snapshot.Record{Next: &m}).Concerns("x") {
		t.Error("a late report is taken for one about the present making")
	}
}

// A version with a policy, served by a machine on which makings take their time and fail at random, or always: it is never served by what is
// too old, and as long as makings work it is always served.
func TestScheduleOverADay(t *testing.T) {
	type world struct {
		policy   snapshot.Policy
		makeTime func(r *rand.Rand) time.Duration
		failRate float64
		span     time.Duration
		always   bool // a usable generation at every moment after the first
	}
	seconds := func(lo, hi float64) func(r *rand.Rand) time.Duration {
		return func(r *rand.Rand) time.Duration { return time.Duration((lo + r.Float64()*(hi-lo)) * 1e9) }
	}
	for name, w := range map[string]world{
		"ten minutes, quick makings":                  {snapshot.Policy{Interval: 10 * time.Minute}, seconds(1, 2), 0, 24 * time.Hour, true},
		"ten minutes, every fifth making fails":       {snapshot.Policy{Interval: 10 * time.Minute, MaxAge: 15 * time.Minute}, seconds(1, 5), 0.2, 24 * time.Hour, true},
		"thirty seconds, makings of four":             {snapshot.Policy{MaxAge: 30 * time.Second}, seconds(3, 4), 0, 2 * time.Hour, true},
		"a day, makings of a minute that mostly fail": {snapshot.Policy{MaxAge: 24 * time.Hour}, seconds(30, 60), 0.5, 60 * 24 * time.Hour, true},
		"five seconds, makings of four":               {snapshot.Policy{MaxAge: 5 * time.Second}, seconds(3.5, 4), 0, 10 * time.Minute, false},
		"ten minutes, nothing ever works again":       {snapshot.Policy{Interval: 10 * time.Minute}, seconds(1, 2), 1, 3 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			now := testTime
			rec := snapshot.Record{Version: version(1), LastUsed: now}
			move := func(e snapshot.Event) {
				t.Helper()
				if _, err := rec.Move(e, now); err != nil {
					t.Fatal(err)
				}
			}
			move(snapshot.Asked)
			born, doneAt := now, now.Add(w.makeTime(r))
			makings, first := 0, true
			var bare, busy time.Duration
			for end := now.Add(w.span); now.Before(end); {
				rec.LastUsed = now
				e, at, ok := rec.Due(w.policy, now)
				next := end
				if ok && at.Before(next) {
					next = at
				}
				if rec.State.Busy() && doneAt.Before(next) {
					next, e = doneAt, snapshot.Made
				} else if !ok && !rec.State.Busy() {
					t.Fatalf("nothing will ever come in %v", rec.State)
				}
				if next.Before(now) {
					next = now
				}
				if m := rec.ForRestore(next.Add(-1), rec.Current.KeyHash()); m == nil && !first {
					bare += next.Sub(now)
				} else if m != nil && m.Age(next.Add(-1)) >= max(w.policy.MaxAge, w.policy.Interval) {
					t.Fatalf("served by one that is %v old", m.Age(next))
				}
				if rec.State.Busy() {
					busy += next.Sub(now)
				}
				now = next
				if !now.Before(end) {
					break
				}
				switch e {
				case snapshot.Made:
					makings++
					if !first && r.Float64() < w.failRate {
						move(snapshot.MakeFailed)
						continue
					}
					first = false
					rec.Next.Born, rec.Next.Created, rec.Next.MakeSeconds = born, now, now.Sub(born).Seconds()
					rec.Next.Expires = w.policy.Expiry(born, time.Time{})
					move(snapshot.Made)
					move(snapshot.Verified)
				default:
					was := rec.State.Busy()
					move(e)
					if rec.State.Busy() && !was {
						born, doneAt = now, now.Add(w.makeTime(r))
					}
				}
			}
			t.Logf("%d makings, busy %.1f%%, without %.1f%%", makings, 100*busy.Seconds()/w.span.Seconds(), 100*bare.Seconds()/w.span.Seconds())
			if w.always && bare > 0 {
				t.Errorf("without a usable generation for %v", bare)
			}
			if makings > int(w.span/(2*time.Second)) {
				t.Errorf("%d makings", makings)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	at := func(d time.Duration) time.Time { return testTime.Add(d) }
	m := func(expires time.Duration, took float64) *snapshot.Meta {
		m := meta(1, 1)
		m.MakeSeconds = took
		m.Created = at(time.Duration(took * 1e9))
		if expires > 0 {
			m.Expires = at(expires)
		}
		return &m
	}
	for _, c := range []struct {
		name          string
		p             snapshot.Policy
		m             *snapshot.Meta
		h             snapshot.History
		refresh, stop time.Duration // -1: never
		tight         bool
	}{
		{"no policy and no end: never", snapshot.Policy{}, m(0, 2), snapshot.History{}, -1, -1, false},
		{"nothing current: now", snapshot.Policy{}, nil, snapshot.History{}, 0, -1, false},
		{"nothing current after a failure: two seconds after it", snapshot.Policy{}, nil, snapshot.History{Failures: 1, LastFailed: at(0)}, 2 * time.Second, -1, false},
		{"nothing current after many failures: a quarter of an hour", snapshot.Policy{}, nil, snapshot.History{Failures: 99, LastFailed: at(0)}, 15 * time.Minute, -1, false},
		{"ten minutes: a tenth and three makings before", snapshot.Policy{}, m(10*time.Minute, 2), snapshot.History{}, 10*time.Minute - 66*time.Second, 10 * time.Minute, false},
		{"the slowest of the last makings counts", snapshot.Policy{}, m(10*time.Minute, 2), snapshot.History{Slowest: 20 * time.Second}, 8 * time.Minute, 10 * time.Minute, false},
		{"an interval: one making before", snapshot.Policy{Interval: 5 * time.Minute}, m(time.Hour, 2), snapshot.History{}, 298 * time.Second, time.Hour, false},
		{"a short life: not before it was used as long as it took", snapshot.Policy{}, m(20*time.Second, 6), snapshot.History{}, 12 * time.Second, 20 * time.Second, false},
		{"a life too short", snapshot.Policy{}, m(10*time.Second, 6), snapshot.History{}, 4 * time.Second, 10 * time.Second, true},
		{"after a failure, far from the end", snapshot.Policy{}, m(time.Hour, 2), snapshot.History{Failures: 3, LastFailed: at(54 * time.Minute)}, 54*time.Minute + 8*time.Second, time.Hour, false},
		{"after a failure, close to the end: a third of what is left", snapshot.Policy{}, m(time.Hour, 2), snapshot.History{Failures: 9, LastFailed: at(time.Hour - 30*time.Second)}, time.Hour - 20*time.Second, time.Hour, false},
	} {
		now := testTime
		if c.h.LastFailed.After(now) {
			now = c.h.LastFailed
		}
		got := snapshot.Schedule(c.p, c.m, c.h, now)
		for what, pair := range map[string][2]any{"refresh": {got.RefreshAt, c.refresh}, "stop": {got.StopAt, c.stop}} {
			when, want := pair[0].(time.Time), pair[1].(time.Duration)
			if want < 0 && !when.IsZero() || want >= 0 && !when.Equal(at(want)) {
				t.Errorf("%s: %s at %v, not %v", c.name, what, when.Sub(testTime), want)
			}
		}
		if got.Tight != c.tight {
			t.Errorf("%s: tight %v", c.name, got.Tight)
		}
	}
}

// E-133: a version idle for 14 days is Inactive, and the invoke that finds it so moves it to Pending.
func TestIdleVersionsBecomeInactive(t *testing.T) {
	m := meta(1, 1)
	rec := snapshot.Record{Version: version(1), State: snapshot.Current, Current: &m, LastUsed: testTime}
	if e, at, ok := rec.Due(snapshot.Policy{}, testTime); !ok || e != snapshot.Idle || at.Sub(testTime) != 14*24*time.Hour {
		t.Errorf("%v at %v, %v", e, at, ok)
	}
	if snapshot.IsIdle(testTime, testTime.Add(snapshot.InactiveAfter-1)) || !snapshot.IsIdle(testTime, testTime.Add(snapshot.InactiveAfter)) {
		t.Error("idle at another time")
	}
	steps, err := rec.Move(snapshot.Idle, testTime)
	if err != nil || rec.State != snapshot.Inactive || rec.Current != nil || steps[0].ID != m.ID {
		t.Errorf("%v %v %v", rec.State, steps, err)
	}
	if steps, err = rec.Move(snapshot.Invoked, testTime); err != nil || !rec.State.Pending() || steps[0].Action != snapshot.StartMaking {
		t.Errorf("%v %v %v", rec.State, steps, err)
	}
}

func TestUpdateTriesAgainAfterAConflict(t *testing.T) {
	ctx := context.Background()
	rs := snapshottest.NewRecords()
	tries := 0
	r, err := snapshot.Update(ctx, rs, version(1), func(r *snapshot.Record) error {
		if tries++; tries == 1 { // another is quicker
			if _, err := rs.Put(ctx, snapshot.Record{Version: version(1), Failures: 7}, 0); err != nil {
				t.Fatal(err)
			}
		}
		r.LastGeneration = 3
		return nil
	})
	if err != nil || tries != 2 || r.Failures != 7 || r.LastGeneration != 3 {
		t.Errorf("after %d tries %+v, %v", tries, r, err)
	}
	no := errors.New("no")
	if _, err := snapshot.Update(ctx, rs, version(1), func(*snapshot.Record) error { return no }); !errors.Is(err, no) {
		t.Error(err)
	}
}

// A record belongs to one incarnation of its function.
func TestClaim(t *testing.T) {
	full := func(incarnation uint64) snapshot.Record {
		return snapshot.Record{Version: version(1), Incarnation: incarnation, State: snapshot.Current, Current: &snapshot.Meta{ID: snapshot.NewID()}, LastGeneration: 4, Failures: 2}
	}
	for _, c := range []struct {
		name           string
		of, by, become uint64
		kept           bool
		err            error
	}{
		{"its own", 5, 5, 5, true, nil},
		{"of an older release", 0, 5, 5, true, nil},
		{"of an incarnation that was deleted", 3, 5, 5, false, nil},
		{"of one that came later", 7, 5, 7, true, snapshot.ErrOtherLife},
		{"by one who does not know", 7, 0, 7, true, nil},
		{"by one who does not know, of an older release", 0, 0, 0, true, nil},
	} {
		r := full(c.of)
		was := r
		err := r.Claim(c.by)
		if !errors.Is(err, c.err) || r.Incarnation != c.become {
			t.Errorf("%s: %v, of incarnation %d", c.name, err, r.Incarnation)
		}
		if kept := r.State == was.State && r.Current == was.Current && r.LastGeneration == was.LastGeneration; kept != c.kept {
			t.Errorf("%s: kept %v, want %v: %+v", c.name, kept, c.kept, r)
		}
		if !c.kept && (r.State != snapshot.None || r.Version != was.Version || r.Failures != 0) {
			t.Errorf("%s: it became %+v", c.name, r)
		}
	}
}

// A clock that is set back makes nothing live longer: what would be born in the future has ended if it ever ends, and a
// failure in the future keeps nothing from being tried.
func TestAClockThatIsSetBack(t *testing.T) {
	born := meta(1, 1)
	born.Created = testTime
	ends := born
	ends.Expires = testTime.Add(10 * time.Minute)
	rec := snapshot.Record{Version: version(1), State: snapshot.Current, Current: &ends, LastUsed: testTime}
	for _, c := range []struct {
		name string
		now  time.Duration
		want bool
	}{
		{"at its birth", 0, true},
		{"set back by what clocks are corrected by", -3 * time.Second, true},
		{"set back by an hour", -time.Hour, false},
		{"a moment before its end", 10*time.Minute - 1, true},
		{"at its end", 10 * time.Minute, false},
	} {
		now := testTime.Add(c.now)
		if got := rec.ForRestore(now, ends.KeyHash()) != nil; got != c.want {
			t.Errorf("%s: it may be restored: %t", c.name, got)
		}
	}
	past := testTime.Add(-time.Hour)
	if e, at, ok := rec.Due(snapshot.Policy{}, past); e != snapshot.Expired || !ok || at.After(past) {
		t.Errorf("an hour before its birth is due: %v at %v", e, at)
	}
	lasting := snapshot.Record{Version: version(1), State: snapshot.Current, Current: &born, LastUsed: testTime}
	if lasting.ForRestore(past, born.KeyHash()) == nil {
		t.Error("what never ends is not used for being born in the future")
	}
	if got := snapshot.Schedule(snapshot.Policy{}, nil, snapshot.History{Failures: 5, LastFailed: testTime}, past); got.RefreshAt.After(past) {
		t.Errorf("after a failure in the future the next try is %v away", got.RefreshAt.Sub(past))
	}
}
