package eventsourcetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thaw/eventsource"
	"thaw/invoke"
)

// S-071 to S-075: a state goes through the calls of a window, whose last one has no records; a window that answers no
// state fails, and one that answers too much ends early. The shard's end ends its window.
func TestTumblingWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.Kinesis)
		h := newHarness(t, f)
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) // to the beginning of a window
		type call struct {
			Records []struct{ Body string }
			Window  struct{ Start, End time.Time }
			State   struct{ N int }
			Shard   string `json:"shardId"`
			ARN     string `json:"eventSourceARN"`
			Final   bool   `json:"isFinalInvokeForWindow"`
			Early   bool   `json:"isWindowTerminatedEarly"`
		}
		var calls []call
		answer := func(c call) string { return fmt.Sprintf(`{"state":{"N":%d}}`, c.State.N+len(c.Records)) }
		h.handle(func([]Seen) (string, bool, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			var c call
			if err := json.Unmarshal(h.events[len(h.events)-1], &c); err != nil {
				t.Error(err)
			}
			calls = append(calls, c)
			return answer(c), false, nil
		})
		shown := func() string {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			var s []string
			for _, c := range calls {
				if c.Shard != "shard-0" || c.ARN == "" || c.Window.End.Sub(c.Window.Start) != 30*time.Second || c.Window.Start.Unix()%30 != 0 {
					t.Errorf("%+v", c)
				}
				s = append(s, fmt.Sprintf("%d:%d/%d%s%s", c.Window.Start.Second(), len(c.Records), c.State.N, map[bool]string{true: " final"}[c.Final], map[bool]string{true: " early"}[c.Early]))
			}
			calls = nil
			return strings.Join(s, ", ")
		}
		m := f.New(t)
		f.Driver.(*Memory).MakeStream(m.Source.ARN, 1)
		arn := m.Source.ARN
		m = h.mapping(func(m *eventsource.Mapping) {
			m.Source.ARN, m.Options.Tumbling = arn, 30
		})
		h.create(m)
		put := func(bodies ...string) { f.Put(t, m, "a", bodies...) }
		for _, c := range []struct {
			name string
			do   func()
			want string
		}{
			{"the first batch has no state, the second that of the first", func() { put(bodies(0, 2)...); synctest.Wait(); put(bodies(2, 5)...) }, "0:2/0, 0:3/2"},
			{"the window ends a moment after its time", func() { time.Sleep(33 * time.Second) }, "0:0/5 final"},
			{"an empty window has no call", func() { time.Sleep(60 * time.Second) }, ""},
			{"a record of a later window ends the one before", func() { put(body(5)); time.Sleep(30 * time.Second); put(body(6)) }, "30:1/0, 30:0/1 final, 0:1/0"},
			{"the state survives the server", func() { h.kill(); h.start(); h.state(m, eventsource.Enabled); put(body(7)) }, "0:1/1"},
			{"a state that is too long ends the window", func() {
				long := answer
				answer = func(c call) string {
					answer = long
					return `{"state":{"N":9,"x":"` + strings.Repeat("x", 1<<20) + `"}}`
				}
				put(body(8))
				synctest.Wait()
				put(body(9))
			}, "0:1/2, 0:0/9 final early, 0:1/0"},
			{"without a state the function has failed, and is called again", func() {
				long, n := answer, 0
				answer = func(c call) string {
					if n++; n == 3 {
						answer = long
					}
					return `{"done":true}`
				}
				put(body(10))
				time.Sleep(time.Second)
			}, "0:1/1, 0:1/1, 0:1/1, 0:1/1"},
			{"a shard that ends ends its window", func() { f.Driver.(*Memory).Split(arn, 0); time.Sleep(time.Second) }, "0:0/2 final"},
		} {
			c.do()
			if got := shown(); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
}

// S-069: the children of a shard are read when all of it is done with, also across a kill.
func TestParentsAreReadBeforeChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.Kinesis)
		h := newHarness(t, f)
		m := h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 2 })
		fails := true
		h.handle(func([]Seen) (string, bool, error) { h.mu.Lock(); defer h.mu.Unlock(); return "", fails, nil })
		put := map[string][]string{"b": bodies(0, 5)}
		f.Put(t, m, "b", put["b"]...)
		h.create(m)
		mem := f.Driver.(*Memory)
		mem.Split(m.Source.ARN, int('b')%2)
		more := bodies(5, 12)
		put["b"] = append(put["b"], more...)
		f.Put(t, m, "b", more...)
		time.Sleep(10 * time.Second)
		if got := h.seen(); slices.Contains(got, body(5)) || slices.Contains(got, body(2)) {
			t.Errorf("before the parent was done with: %v", got)
		}
		h.kill()
		h.start()
		h.mu.Lock()
		fails, h.invokes = false, nil
		h.mu.Unlock()
		h.wantOrder(put)
		h.wantOnce(put)
	})
}

// A shard is read by one server at a time, and by another one seconds after that has died; nothing is lost.
func TestAnotherServerTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.Kinesis)
		h := newHarness(t, f)
		m := h.create(h.mapping(nil))
		put := h.putAll(m, 0, 3)
		h.wantOnce(put)
		one, oneService := h.server, h.service
		h.start() // a second server on the same store, while the first one goes on
		more := h.putAll(m, 100, 3)
		h.wantOnce(more) // by one of them
		two := h.service
		h.server, h.service = one, oneService
		h.kill()
		h.service = two
		h.server = h.store.Server()
		began := time.Now()
		again := h.putAll(m, 200, 3)
		h.wantOrder(again)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("taken over after %v", took)
		}
	})
}

// S-054: with a factor several batches of a shard run at a time, and the records of each key in order.
func TestParallelizationKeepsTheOrderOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.Kinesis)
		h := newHarness(t, f)
		m := h.mapping(func(m *eventsource.Mapping) { m.Options.Parallel, m.Options.BatchSize = 4, 1 })
		h.handle(func([]Seen) (string, bool, error) { time.Sleep(time.Second); return "", false, nil })
		put := map[string][]string{}
		for i := range 8 {
			key := string(rune('a' + 2*i)) // all in one shard
			put[key] = bodies(100*i, 100*i+3)
			f.Put(t, m, key, put[key]...)
		}
		h.create(m)
		h.wantOnce(put)
		if most := h.together(); most < 2 || most > 4 {
			t.Errorf("%d batches at one time", most)
		}
	})
}

// S-005, S-043: a window gathers what many receives bring, and ends in time; S-046: no more batches run than there may.
func TestWindowsAndConcurrencyOfQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.SQS)
		f.Driver.(*Memory).Visibility = time.Minute
		h := newHarness(t, f)
		five := 5
		m := h.create(h.mapping(func(m *eventsource.Mapping) {
			m.Options.BatchSize, m.Options.Window, m.Options.MaxConcurrency = 10_000, &five, 2
		}))
		put := map[string][]string{}
		began := time.Now()
		for i := range 30 {
			put[""] = append(put[""], bodies(100*i, 100*i+10)...)
			f.Put(t, m, "", bodies(100*i, 100*i+10)...)
			time.Sleep(50 * time.Millisecond)
		}
		h.wantAll(put)
		if n := len(h.batches()); n > 2 {
			t.Errorf("%d batches of 300 messages in a window", n)
		}
		if took := time.Since(began); took < 5*time.Second || took > 8*time.Second {
			t.Errorf("the window took %v", took)
		}
		zero := 0
		m2 := h.create(h.mapping(func(m *eventsource.Mapping) {
			m.Options.BatchSize, m.Options.Window, m.Options.MaxConcurrency = 1, &zero, 2
		}))
		h.handle(func([]Seen) (string, bool, error) { time.Sleep(time.Second); return "", false, nil })
		h.mu.Lock()
		h.most = 0
		h.mu.Unlock()
		f.Put(t, m2, "", bodies(5000, 5020)...)
		h.wantAll(map[string][]string{"": bodies(5000, 5020)})
		if most := h.together(); most != 2 {
			t.Errorf("%d batches at one time, want 2", most)
		}
	})
}

// S-011: what is changed counts for the batches that are formed later.
func TestAnUpdateCountsForLaterBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.Kinesis)
		h := newHarness(t, f)
		m := h.create(h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 2 }))
		var once sync.Once
		h.handle(func([]Seen) (string, bool, error) {
			once.Do(func() {
				if _, err := h.service.Update(t.Context(), m.ID, nil, func(m *eventsource.Mapping) error { m.Options.BatchSize = 5; return nil }); err != nil {
					t.Error(err)
				}
			})
			return "", false, nil
		})
		put := map[string][]string{"a": bodies(0, 12)}
		f.Put(t, m, "a", put["a"]...)
		h.wantOnce(put)
		var sizes []int
		for _, b := range h.batches() {
			sizes = append(sizes, len(b))
		}
		if !slices.Equal(sizes, []int{2, 5, 5}) {
			t.Errorf("batches of %v", sizes)
		}
	})
}

// S-087: a source that mixes shards has one batch at a time, and more as long as records wait; the order of each shard
// is kept while it goes from one lane to another.
func TestLanesGrowWithTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.SelfManagedKafka)
		h := newHarness(t, f)
		m := h.mapping(func(m *eventsource.Mapping) { m.Options.BatchSize = 2 })
		f.Driver.(*Memory).MakeStream(m.Source.ARN, 4)
		h.handle(func([]Seen) (string, bool, error) { time.Sleep(time.Second); return "", false, nil })
		put := map[string][]string{}
		for i, key := range []string{"a", "b", "c", "d"} {
			put[key] = bodies(1000*i, 1000*i+60)
			f.Put(t, m, key, put[key]...)
		}
		h.create(m)
		time.Sleep(9 * time.Second)
		if most := h.together(); most != 1 {
			t.Errorf("%d batches at first", most)
		}
		h.wantOnce(put)
		if most := h.together(); most != 4 {
			t.Errorf("%d batches at one time, want one for each of 4 shards", most)
		}
	})
}

// S-090: a Kafka mapping without a bound of retries, but with a destination, gives up after ten.
func TestKafkaGivesUpForADestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memoryFixture(eventsource.SelfManagedKafka)
		h := newHarness(t, f)
		attempts := 0
		h.handle(func([]Seen) (string, bool, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			attempts++
			return `{"errorMessage":"always"}`, true, nil
		})
		m := h.mapping(func(m *eventsource.Mapping) { m.Options.OnFailure = "arn:aws:sqs:eu-west-1:123456789012:failed" })
		f.Put(t, m, "a", body(1))
		h.create(m)
		Until(t, "the destination is told", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.told) == 1 })
		h.mu.Lock()
		defer h.mu.Unlock()
		if attempts != 11 || h.told[0].Condition != eventsource.RetryAttemptsExhausted || h.told[0].Attempts != 11 {
			t.Errorf("%d attempts, told %s after %d", attempts, h.told[0].Condition, h.told[0].Attempts)
		}
	})
}

// A queue that counts deliveries: what fails is tried again within one, given back, and given up after the last one or when
// it is too old; the destination is told first.
func TestQueuesThatCountDeliveries(t *testing.T) {
	for name, one := range map[string]struct {
		maxAge              int
		condition           string
		attempts, told, off int // invokes; approximateInvokeCount; messages that are left
	}{
		"the last delivery": {-1, eventsource.RetryAttemptsExhausted, 6, 3, 0},
		"the age":           {60, eventsource.RecordAgeExceeded, 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := memoryFixture(eventsource.SelfManagedKafka)
				mem := f.Driver.(*Memory)
				mem.Deliveries, mem.Visibility = 3, 10*time.Minute
				h := newHarness(t, f)
				attempts := 0
				h.handle(func([]Seen) (string, bool, error) {
					h.mu.Lock()
					attempts++
					h.mu.Unlock()
					time.Sleep(35 * time.Second)
					return `{"errorMessage":"always"}`, true, nil
				})
				m := h.mapping(func(m *eventsource.Mapping) {
					m.Source.Queue, m.Source.Start = true, ""
					m.Options.MaxRetries, m.Options.MaxAge, m.Options.OnFailure = 1, one.maxAge, "arn:aws:sqs:eu-west-1:123456789012:failed"
					mem.MakeQueue(m.Source.ARN)
				})
				f.Put(t, m, "", body(1))
				h.create(m)
				time.Sleep(time.Hour)
				Until(t, "the destination is told, and the queue after it", func() bool {
					h.mu.Lock()
					defer h.mu.Unlock()
					return len(h.told) == 1 && mem.Left(m.Source.ARN) == one.off
				})
				h.mu.Lock()
				defer h.mu.Unlock()
				if attempts != one.attempts || h.told[0].Condition != one.condition || one.told > 0 && h.told[0].Attempts != one.told || h.counts["dropped"] != 1 || h.counts["delivered"] != 1 {
					t.Errorf("%d invokes, told %s after %d, counted %v", attempts, h.told[0].Condition, h.told[0].Attempts, h.counts)
				}
			})
		})
	}
}

// S-093, S-101: a record that fits into no event reaches no function. Kafka's destination is told; without a condition for
// it, it is dropped and counted. Those behind it are seen.
func TestOversizedRecords(t *testing.T) {
	for kind, condition := range map[eventsource.Kind]string{
		eventsource.SelfManagedKafka: eventsource.MaximumPayloadSizeExceeded,
		eventsource.DocumentDB:       "",
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := memoryFixture(kind)
				h := newHarness(t, f)
				m := h.mapping(func(m *eventsource.Mapping) { m.Options.OnFailure = "arn:aws:sqs:eu-west-1:123456789012:failed" })
				f.Put(t, m, "a", body(1), `{"n":2,"x":"`+strings.Repeat("x", 6<<20)+`"}`, body(3))
				h.create(m)
				h.wantAll(map[string][]string{"a": {body(1), body(3)}})
				Until(t, "it is counted", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.counts["dropped"] == 1 })
				h.mu.Lock()
				defer h.mu.Unlock()
				if got := len(h.told); (condition != "") != (got == 1) || got == 1 && h.told[0].Condition != condition {
					t.Errorf("the destination was told of %d failures: %+v", got, h.told)
				}
			})
		})
	}
}

// The function runs in the trace of who sent the record, by which loops are counted; a loop that was stopped is a failure.
func TestTheTraceOfTheSender(t *testing.T) {
	for _, kind := range []eventsource.Kind{eventsource.SQS, eventsource.Kinesis} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := memoryFixture(kind)
				h := newHarness(t, f)
				stopped := 0
				h.handle(func([]Seen) (string, bool, error) {
					h.mu.Lock()
					defer h.mu.Unlock()
					if stopped++; stopped == 1 {
						return "", false, &invoke.RecursionError{}
					}
					return "null", false, nil
				})
				m := h.mapping(nil)
				f.Put(t, m, "a", body(1))
				h.create(m)
				h.wantAll(map[string][]string{"a": {body(1)}})
				h.mu.Lock()
				defer h.mu.Unlock()
				if stopped != 2 || h.traces[0] != memoryTrace {
					t.Errorf("%d attempts, in the traces %q", stopped, h.traces)
				}
			})
		})
	}
}
