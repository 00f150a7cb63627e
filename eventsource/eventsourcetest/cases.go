package eventsourcetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/eventsource"
)

// body is what is put as number n.
func body(n int) string { return fmt.Sprintf(`{"n":%d,"pass":true}`, n) }

func bodies(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, body(n))
	}
	return all
}

// keys are what the records of a case are spread over.
var keys = []string{"a", "b", "c"}

// putAll puts n records for each key, and returns them by key.
func (h *harness) putAll(m *eventsource.Mapping, from, n int) map[string][]string {
	all := map[string][]string{}
	for i, k := range keys {
		all[k] = bodies(from+i*n, from+(i+1)*n)
		h.f.Put(h.t, m, k, all[k]...)
	}
	return all
}

// wantAll waits until everything was seen that was put.
func (h *harness) wantAll(put map[string][]string) {
	h.t.Helper()
	Until(h.t, "everything that was put is seen", func() bool {
		seen := map[string]bool{}
		for _, b := range h.seen() {
			seen[b] = true
		}
		for _, all := range put {
			for _, b := range all {
				if !seen[b] {
					return false
				}
			}
		}
		return true
	})
}

// wantOnce holds that everything was seen once and in order.
func (h *harness) wantOnce(put map[string][]string) {
	h.t.Helper()
	h.wantAll(put)
	for k, want := range put {
		var got []string
		for _, b := range h.seen() {
			if slices.Contains(want, b) {
				got = append(got, b)
			}
		}
		if h.f.Unordered {
			slices.Sort(got)
			want = slices.Sorted(slices.Values(want))
		}
		if !slices.Equal(got, want) {
			h.t.Errorf("of key %s was seen\n%v\nwant\n%v", k, got, want)
		}
	}
}

// wantOrder holds that the first sight of everything was in order, however often it came.
func (h *harness) wantOrder(put map[string][]string) {
	h.t.Helper()
	h.wantAll(put)
	if h.f.Unordered {
		return
	}
	for k, want := range put {
		var got []string
		for _, b := range h.seen() {
			if slices.Contains(want, b) && !slices.Contains(got, b) {
				got = append(got, b)
			}
		}
		if !slices.Equal(got, want) {
			h.t.Errorf("of key %s was first seen\n%v\nwant\n%v", k, got, want)
		}
	}
}

// wantEmpty waits until a queue has nothing any more.
func (h *harness) wantEmpty(m *eventsource.Mapping) {
	h.t.Helper()
	if h.f.Left != nil && eventsource.TraitsOf(m.Kind).IsQueue(m) {
		Until(h.t, "the queue is empty", func() bool { return h.f.Left(h.t, m) == 0 })
	}
}

// soon is when what was not done with comes again, in cases that wait for it.
const soon = 2 * time.Second

func testStory(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(nil)
	traits := eventsource.TraitsOf(m.Kind)
	before := h.putAll(m, 0, 4)
	h.create(m)
	h.wantOnce(before)
	after := h.putAll(m, 100, 9)
	h.wantOnce(after)
	h.wantEmpty(m)
	want := map[bool]string{true: "OK"}[traits.Result]
	var now *eventsource.Mapping
	Until(t, fmt.Sprintf("LastProcessingResult is %q", want), func() bool { // S-003; it is written after the batch
		var err error
		now, err = h.service.Get(m.ID)
		return err == nil && now.Result == want
	})
	if now.Reason != traits.Reason { // S-002
		t.Errorf("StateTransitionReason %q, want %q", now.Reason, traits.Reason)
	}
	if m.Kind == eventsource.Kinesis || m.Kind == eventsource.DynamoDB {
		Until(t, "reading is at the end of the stream", func() bool {
			all := h.service.Now()
			return len(all) == 1 && all[0].Lag == 0 && (all[0].Behind == 0 || f.Virtual)
		})
	}
	h.mu.Lock()
	if n := len(keys) * 13; h.counts["polled"] < n || h.counts["invoked"] != n || h.counts["failed"]+h.counts["dropped"]+h.counts["filtered"] != 0 {
		t.Errorf("of %d records were counted: %v", n, h.counts)
	}
	h.mu.Unlock()
	if _, err := h.service.Delete(t.Context(), m.ID); err != nil { // S-012
		t.Fatal(err)
	}
	h.state(m, eventsource.Gone)
	if marks, err := h.server.Load(t.Context(), m.ID); err != nil || len(marks) > 0 {
		t.Errorf("a deleted mapping leaves checkpoints: %v, %v", marks, err)
	}
	if f.Left != nil && traits.IsQueue(m) { // what comes later is not touched
		f.Put(t, m, "a", body(999))
		if n := f.Left(t, m); n != 1 {
			t.Errorf("the queue of a deleted mapping has %d messages, want 1", n)
		}
	}
}

func testFilters(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Filters = []string{f.Pattern} })
	h.create(m)
	f.Put(t, m, "a", `{"n":1}`, body(2), `{"n":3,"pass":false}`, body(4))
	f.Put(t, m, "b", `{"n":5}`, `{"n":6}`)
	f.Put(t, m, "a", body(7), `{"n":8}`)
	want := map[string][]string{"a": {body(2), body(4), body(7)}}
	h.wantOnce(want)
	h.wantEmpty(m)
	Until(t, "five records are counted as filtered out", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.counts["filtered"] == 5 })
	if got := h.seen(); len(got) != 3 {
		t.Errorf("seen: %v", got)
	}
	h.update(m, false, eventsource.Disabled)
	h.update(m, true, eventsource.Enabled)
	f.Put(t, m, "a", body(9))
	want["a"] = append(want["a"], body(9))
	h.wantOnce(want)
}

func testPartial(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Options.Partial = true })
	if m.Kind == eventsource.ActiveMQ || m.Kind == eventsource.RabbitMQ || m.Kind == eventsource.DocumentDB {
		t.Skip("the kind has no partial answers")
	}
	h.again(m, 6*time.Second) // no other record may come again, however busy the machine is
	exact := eventsource.TraitsOf(m.Kind).Exact
	failed := map[string]bool{}
	var firstBatch []Seen
	h.handle(func(seen []Seen) (string, bool, error) { // each multiple of three fails once
		h.mu.Lock()
		defer h.mu.Unlock()
		var items []string
		for _, s := range seen {
			var n int
			fmt.Sscanf(s.Body, `{"n":%d`, &n) //nolint:errcheck // of our own
			if n%3 == 0 && !failed[s.Body] {
				failed[s.Body] = true
				items = append(items, fmt.Sprintf(`{"itemIdentifier":%s}`, s.ID))
			}
		}
		if len(items) > 0 && firstBatch == nil {
			firstBatch = seen
		}
		return `{"batchItemFailures":[` + strings.Join(items, ",") + `]}`, false, nil
	})
	put := map[string][]string{"a": bodies(1, 8)}
	f.Put(t, m, "a", put["a"]...)
	h.create(m)
	h.wantAll(put)
	h.wantEmpty(m)
	again := func() map[string]int {
		times := map[string]int{}
		for _, b := range h.seen() {
			times[b]++
		}
		return times
	}
	Until(t, "the failed ones have come again", func() bool { n := again(); return n[body(3)] >= 2 && n[body(6)] >= 2 })
	h.mu.Lock()
	defer h.mu.Unlock()
	bad := false
	for _, s := range firstBatch {
		bad = bad || failed[s.Body]
		times := 0
		for _, batch := range h.invokes {
			for _, other := range batch {
				if other.Body == s.Body {
					times++
				}
			}
		}
		switch {
		case failed[s.Body] && times < 2, exact && !failed[s.Body] && times != 1, !exact && !bad && times != 1:
			t.Errorf("%s came %d times", s.Body, times)
		}
	}
}

func testPoison(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	const poison = `{"n":666,"pass":true}`
	m := h.mapping(nil)
	h.again(m, soon)
	traits := eventsource.TraitsOf(m.Kind)
	queue := traits.IsQueue(m)
	switch {
	case queue:
		m.Options.BatchSize = 1
	case m.Kind == eventsource.DocumentDB:
		t.Skip("the kind has no end of retries")
	default:
		m.Options.MaxRetries, m.Options.Bisect, m.Options.OnFailure = 2, true, "arn:aws:sqs:eu-west-1:123456789012:failed"
		if traits.Assigns {
			m.Options.Pollers = &eventsource.Pollers{Min: 1, Max: 1}
		}
	}
	attempts := 0
	h.handle(func(seen []Seen) (string, bool, error) {
		if slices.ContainsFunc(seen, func(s Seen) bool { return s.Body == poison }) {
			if len(seen) == 1 {
				h.count("poison", 1)
				attempts++
			}
			return `{"errorMessage":"poison"}`, true, nil
		}
		return "null", false, nil
	})
	put := map[string][]string{"a": bodies(0, 4), "b": bodies(10, 14)}
	f.Put(t, m, "b", put["b"]...)
	f.Put(t, m, "a", put["a"][:2]...)
	if queue { // behind a poisoned message of its group nothing comes
		f.Put(t, m, "poison", poison)
	} else {
		f.Put(t, m, "a", poison)
	}
	f.Put(t, m, "a", put["a"][2:]...)
	h.create(m)
	h.wantOrder(put)
	if queue {
		Until(t, "the poisoned message comes again", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.counts["poison"] >= 2 })
		return
	}
	Until(t, "the destination is told, and the record is given up", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.counts["dropped"] > 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told[0]
	if seen := f.Seen(t, told.Payload); len(h.told) != 1 || len(seen) != 1 || seen[0].Body != poison || told.Condition != eventsource.RetryAttemptsExhausted || told.Attempts != 3 {
		t.Errorf("told %d times: %s", len(h.told), told.Body(true))
	}
	if attempts != 3 || h.counts["dropped"] != 1 || h.counts["delivered"] != 1 {
		t.Errorf("%d attempts with the poisoned record alone, want 3; counted %v", attempts, h.counts)
	}
}

func testServerDies(t *testing.T, f Fixture) {
	if f.Stop == nil {
		t.Skip("the server of this source cannot be stopped")
	}
	h := newHarness(t, f)
	m := h.mapping(nil)
	h.again(m, soon)
	h.create(m)
	put := h.putAll(m, 0, 3)
	h.wantAll(put)
	f.Stop(t)
	Until(t, "the mapping says that its source is gone", func() bool {
		now, err := h.service.Get(m.ID)
		return err == nil && now.State == eventsource.Enabled && strings.HasPrefix(now.Result, "PROBLEM: ")
	})
	f.Start(t)
	more := h.putAll(m, 100, 3)
	h.wantOrder(more)
	Until(t, "the problem is forgotten", func() bool {
		now, err := h.service.Get(m.ID)
		return err == nil && !strings.HasPrefix(now.Result, "PROBLEM: ")
	})
}

func testThrottled(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Options.MaxRetries = 0 }) // S-008
	h.again(m, soon)
	var mu sync.Mutex
	throttled := map[string]int{}
	h.handle(func(seen []Seen) (string, bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if throttled[seen[0].Body]++; throttled[seen[0].Body] <= 3 {
			return "", false, errThrottled
		}
		return "null", false, nil
	})
	h.create(m)
	put := h.putAll(m, 0, 5)
	h.wantOrder(put)
	h.wantEmpty(m)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts["dropped"]+h.counts["failed"] > 0 {
		t.Errorf("counted %v", h.counts)
	}
}

func testDisabled(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.create(h.mapping(nil))
	put := h.putAll(m, 0, 2)
	h.wantAll(put)
	h.update(m, false, eventsource.Disabled)
	invokes := len(h.batches())
	later := h.putAll(m, 100, 2)
	if time.Sleep(300 * time.Millisecond); len(h.batches()) != invokes { // S-001
		t.Errorf("%d invokes of a mapping that is disabled", len(h.batches())-invokes)
	}
	h.update(m, true, eventsource.Enabled)
	h.wantOnce(later)
	h.wantOnce(put)
}

func testKilled(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 2 })
	h.again(m, soon)
	put := h.putAll(m, 0, 6)
	h.create(m)
	const kills = 3
	for i := range kills {
		reached := make(chan struct{})
		var once sync.Once
		h.handle(func([]Seen) (string, bool, error) {
			once.Do(func() { h.server.Die(); close(reached) }) // the function runs, and nobody hears of it
			return "null", false, nil
		})
		more := bodies(1000*(i+1), 1000*(i+1)+2)
		put[keys[0]] = append(put[keys[0]], more...)
		f.Put(t, m, keys[0], more...)
		select {
		case <-reached:
		case <-time.After(patience):
			t.Fatalf("no invoke before kill %d", i)
		}
		h.handle(nil)
		h.kill()
		h.start()
	}
	h.wantOrder(put)
	h.wantEmpty(m)
	total := 0
	for _, all := range put {
		total += len(all)
	}
	t.Logf("%d kills, %d put, 0 lost, %d seen again", kills, total, len(h.seen())-total)
}

func testFunctionGone(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.create(h.mapping(nil))
	h.setFunction(false)
	put := h.putAll(m, 0, 2)
	Until(t, "the mapping says that its function is gone", func() bool {
		now, err := h.service.Get(m.ID)
		return err == nil && now.State == eventsource.Enabled && now.Result == "PROBLEM: Function does not exist"
	})
	h.setFunction(true) // S-010
	h.wantOnce(put)
	h.wantEmpty(m)
}

func testBatchSize(t *testing.T, f Fixture) {
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 3 })
	put := map[string][]string{"a": bodies(0, 10)}
	f.Put(t, m, "a", put["a"]...)
	h.create(m)
	h.wantOnce(put)
	most := 0
	for _, b := range h.batches() {
		if most = max(most, len(b)); len(b) > 3 || len(b) == 0 { // S-004, S-007
			t.Errorf("a batch of %d", len(b))
		}
	}
	if most < 2 {
		t.Error("no two records went together")
	}
}

// S-069
func testSplit(t *testing.T, f Fixture) {
	if f.Split == nil {
		t.Skip("the shards of this source cannot be split")
	}
	h := newHarness(t, f)
	m := h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 2 })
	put := h.putAll(m, 0, 4)
	release := make(chan struct{})
	h.handle(func([]Seen) (string, bool, error) { <-release; return "null", false, nil }) // the parents still have records then
	h.create(m)
	f.Split(t, m)
	for k, later := range h.putAll(m, 100, 4) {
		put[k] = append(put[k], later...)
	}
	close(release)
	h.wantOnce(put)
	f.Split(t, m) // shards that are idle
	for k, later := range h.putAll(m, 200, 2) {
		put[k] = append(put[k], later...)
	}
	h.wantOnce(put)
}
