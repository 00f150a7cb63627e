package async

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thaw/function"
	"thaw/internal/golden"
	"thaw/invoke"
	"thaw/pool"
)

const failed = `!{"errorType":"E","errorMessage":"it failed"}`

func errs(*invoke.Request) (string, error) { return failed, nil }

// C-090, C-091: two retries by default, after one and two minutes, with the same request id; with none configured, one attempt.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.answer = errs
		s.accept("f", "a", "{}")
		s.sleep(time.Hour)
		s.wantRuns("f a at 0s", "f a at 1m0s", "f a at 3m0s")
		s.function("f", config(function.EventInvoke{MaxRetries: number(0)}))
		s.runs, s.begun = nil, time.Now()
		s.accept("f", "b", "{}")
		s.sleep(time.Hour)
		s.wantRuns("f b at 0s")
		s.wantNothingLeft()
		if s.received != 2 || s.dropped != 2 || len(s.ages) != 2 {
			t.Errorf("received %d, dropped %d, ages %v", s.received, s.dropped, s.ages)
		}
	})
}

// C-093: an age limit of a minute and a retry after a minute make one attempt; a second more, two.
func TestAgeOfRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.answer = errs
		s.function("f", config(function.EventInvoke{MaxAgeSeconds: number(60), OnFailure: "arn:aws:sqs:eu-west-1:000000000000:q"}))
		s.accept("f", "a", "{}")
		s.sleep(time.Hour)
		s.wantRuns("f a at 0s")
		if len(s.sent) != 1 || !strings.Contains(string(s.sent[0].Body), `"condition":"EventAgeExceeded","approximateInvokeCount":1`) {
			t.Fatalf("sent %+v", s.sent)
		}
		s.function("f", config(function.EventInvoke{MaxAgeSeconds: number(61)}))
		s.runs, s.begun = nil, time.Now()
		s.accept("f", "b", "{}")
		s.sleep(time.Hour)
		s.wantRuns("f b at 0s", "f b at 1m0s")
		s.wantNothingLeft()
	})
}

// A function that is throttled is tried again after one second, two, four ... to five minutes, none of it is an attempt,
// and events of other functions do not wait. One event finds out for all of its lane.
func TestThrottledForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("g", nil)
		free := time.Now().Add(time.Hour)
		s.answer = func(r *invoke.Request) (string, error) {
			if r.Function.Name == "f" && time.Now().Before(free) {
				return "", &pool.ThrottledError{Reason: pool.AccountConcurrency}
			}
			return "null", nil
		}
		for i := range 100 {
			s.accept("f", fmt.Sprint(i), "{}")
		}
		s.sleep(time.Second / 2)
		s.accept("g", "quick", "{}")
		synctest.Wait()
		if got := s.ran(); got[len(got)-1] != "g quick at 500ms" {
			t.Errorf("the other function: %q", got)
		}
		s.sleep(59*time.Minute + 59*time.Second)
		var at []time.Duration
		for _, r := range s.runs {
			if r.fn == "f" && (len(at) == 0 || at[len(at)-1] != r.at) {
				at = append(at, r.at)
			}
		}
		if len(s.runs) > 40 || fmt.Sprint(at[:6]) != "[0s 1s 3s 7s 15s 31s]" || at[len(at)-1]-at[len(at)-2] != 5*time.Minute {
			t.Errorf("%d attempts, at %v", len(s.runs), at)
		}
		s.sleep(6 * time.Minute)
		s.wantNothingLeft()
		if s.dropped != 0 || len(s.ages) != 101 {
			t.Errorf("%d of them were dropped, %d ages were told", s.dropped, len(s.ages))
		}
	})
}

// What is throttled until its age limit is tried once more at the limit, and ends there.
func TestThrottledUntilTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", config(function.EventInvoke{MaxAgeSeconds: number(60), OnFailure: "arn:aws:sqs:eu-west-1:000000000000:q"}))
		s.answer = func(*invoke.Request) (string, error) { return "", &pool.ThrottledError{} }
		s.accept("f", "a", "{}")
		s.sleep(59 * time.Second)
		if len(s.sent) != 0 {
			t.Errorf("it ended early: %+v", s.sent)
		}
		s.sleep(2 * time.Second)
		if len(s.sent) != 1 || strings.Contains(string(s.sent[0].Body), "responseContext") || s.sent[0].At.Sub(s.begun) != time.Minute {
			t.Errorf("sent %+v", s.sent)
		}
		s.wantNothingLeft()
	})
}

// C-094: with a reserved concurrency of 0 nothing runs, and the envelope has no answer.
func TestZeroReservedConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", func(r *function.Record) {
			r.Reserved = number(0)
			config(function.EventInvoke{OnFailure: "arn:aws:sqs:eu-west-1:000000000000:q"})(r)
		})
		s.accept("f", "a", "{}")
		synctest.Wait()
		s.wantRuns()
		if len(s.sent) != 1 || !strings.HasSuffix(string(s.sent[0].Body), `"condition":"ZeroReservedConcurrency","approximateInvokeCount":0},"requestPayload":{}}`) {
			t.Errorf("sent %+v", s.sent)
		}
		s.wantNothingLeft()
	})
}

func TestEventsOfADeletedFunctionAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.answer = func(*invoke.Request) (string, error) { return "", &invoke.NotFoundError{ARN: "f"} }
		s.accept("f", "a", "{}")
		synctest.Wait()
		if s.dropped != 1 {
			t.Errorf("%d were dropped", s.dropped)
		}
		s.wantNothingLeft()
	})
}

// C-092, C-096: what destinations and dead-letter queues get, byte for byte.
func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", func(r *function.Record) {
			r.Latest.Config.DeadLetterARN = "arn:aws:sqs:eu-west-1:000000000000:dead"
			config(function.EventInvoke{MaxRetries: number(0), OnSuccess: "arn:aws:sns:eu-west-1:000000000000:good", OnFailure: "arn:aws:sqs:eu-west-1:000000000000:bad"})(r)
		})
		s.answer = func(r *invoke.Request) (string, error) {
			switch string(r.Event) {
			case `"bad"`:
				return failed, nil
			case `"text"`:
				return "no <JSON>", nil
			}
			return string(r.Event), nil
		}
		s.accept("f", "1", `{"a":"<b>"}`)
		synctest.Wait()
		s.accept("f", "2", `"bad"`)
		synctest.Wait()
		s.accept("f", "3", `"text"`)
		synctest.Wait()
		s.accept("f", "4", `"`+strings.Repeat("x", 200<<10)+`"`)
		synctest.Wait()
		var text strings.Builder
		for _, m := range s.sent {
			fmt.Fprintf(&text, "to %s\n%s\nid %s, error %d %q, success %v, function %s %s\n\n", m.Target.ARN, m.Body, m.RequestID, m.ErrorCode, m.ErrorMessage, m.Success, m.FunctionName, m.FunctionARN)
		}
		golden.Equal(t, "testdata/messages.golden", text.String())
		s.wantNothingLeft()
	})
}

// A destination out of reach is tried again and holds up nobody: not the functions, not other destinations.
func TestADestinationOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", config(function.EventInvoke{OnSuccess: "arn:aws:sqs:eu-west-1:000000000000:away"}))
		s.function("g", config(function.EventInvoke{OnSuccess: "arn:aws:sqs:eu-west-1:000000000000:there"}))
		away := true
		s.send = func(m *Message) error {
			if away && strings.HasSuffix(m.Target.ARN, "away") {
				return errOut
			}
			return nil
		}
		for i := range 50 {
			s.accept("f", fmt.Sprint("f", i), "{}")
		}
		s.accept("g", "g", "{}")
		synctest.Wait()
		if len(s.runs) != 51 || len(s.sent) != 1 || s.sent[0].RequestID != "g" {
			t.Errorf("%d ran, %d were told", len(s.runs), len(s.sent))
		}
		s.sleep(time.Hour)
		s.stop() // and what is to be told is not forgotten
		s.start()
		s.mu.Lock()
		away = false
		s.mu.Unlock()
		s.sleep(6 * time.Minute)
		if len(s.runs) != 51 || len(s.sent) != 51 || s.undelivered != 0 {
			t.Errorf("%d ran, %d were told, %d not", len(s.runs), len(s.sent), s.undelivered)
		}
		s.wantNothingLeft()
	})
}

func TestADestinationThatStaysAwayIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", config(function.EventInvoke{OnSuccess: "arn:aws:sqs:eu-west-1:000000000000:away"}))
		s.send = func(*Message) error { return errOut }
		s.accept("f", "1", "{}")
		s.sleep(tellFor - time.Minute)
		if s.undelivered != 0 || s.store.left() == 0 {
			t.Error("it was given up early")
		}
		s.sleep(10 * time.Minute)
		if s.undelivered != 1 {
			t.Errorf("%d were given up", s.undelivered)
		}
		s.wantNothingLeft()
	})
}

// A function of this server as a destination gets an event, with retries of its own.
func TestAFunctionAsADestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("f", config(function.EventInvoke{OnSuccess: "arn:aws:lambda:eu-west-1:000000000000:function:g"}))
		s.function("g", nil)
		s.accept("f", "1", `{"a":1}`)
		synctest.Wait()
		if len(s.runs) != 2 || s.runs[1].fn != "g" || s.runs[1].id == "1" || !strings.Contains(s.runs[1].event, `"requestPayload":{"a":1}`) {
			t.Errorf("ran %+v", s.runs)
		}
		s.wantNothingLeft()
	})
}

// Many lanes go on at once after a start, each with what is known of its own events.
func TestStartWithManyLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.answer = errs
		for i := range 50 {
			s.function(fmt.Sprint("f", i), nil)
			s.accept(fmt.Sprint("f", i), fmt.Sprint(i), "{}")
		}
		s.sleep(time.Second)
		s.stop()
		s.start()
		defer s.stop()
		s.sleep(time.Hour)
		if len(s.runs) != 150 {
			t.Errorf("%d attempts of 50 events with two retries", len(s.runs))
		}
		s.wantNothingLeft()
	})
}

// A stop lets what runs end, begins nothing, and the next start goes on where it was: the attempts count on.
func TestStopAndStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.answer = func(*invoke.Request) (string, error) { time.Sleep(time.Second); return failed, nil }
		for i := range 5 {
			s.accept("f", fmt.Sprint(i), "{}")
		}
		s.sleep(time.Millisecond)
		s.stop()
		if len(s.runs) != 2 || time.Since(s.begun) != time.Second {
			t.Errorf("%d ran, and it took %v", len(s.runs), time.Since(s.begun))
		}
		if err := s.queue.Accept(t.Context(), &Event{}); !errors.Is(err, ErrStopping) {
			t.Errorf("an event while it stops: %v", err)
		}
		s.start()
		defer s.stop()
		s.sleep(time.Hour)
		of := map[string]int{}
		for _, r := range s.runs {
			of[r.id]++
		}
		if fmt.Sprint(of) != "map[0:3 1:3 2:3 3:3 4:3]" {
			t.Errorf("attempts: %v", of)
		}
		s.wantNothingLeft()
	})
}

// An attempt that the server's end takes away is no attempt.
func TestAnAttemptThatTheEndTakesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		s.answer = func(*invoke.Request) (string, error) { return "", pool.ErrClosed }
		s.accept("f", "1", "{}")
		synctest.Wait()
		s.stop()
		s.answer = nil
		s.start()
		defer s.stop()
		synctest.Wait()
		if len(s.runs) != 2 || s.dropped != 0 {
			t.Errorf("%+v, %d dropped", s.runs, s.dropped)
		}
		s.wantNothingLeft()
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.function("g", nil)
		s.answer = func(*invoke.Request) (string, error) { return "", &pool.ThrottledError{} }
		for i := range 10 {
			s.accept("f", fmt.Sprint(i), "{}")
		}
		s.accept("g", "g", "{}")
		s.sleep(5 * time.Second)
		b, err := s.queue.Backlog(t.Context())
		if err != nil || len(b) != 2 || b[0].Events != 10 || !b[0].Oldest.Equal(s.begun) || b[0].Paused.IsZero() || b[1].Lane.Name != "g" {
			t.Errorf("%+v, %v", b, err)
		}
		if n, err := s.queue.Purge(t.Context(), Lane{key("f"), "$LATEST"}); n != 10 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		s.mu.Lock()
		s.answer, s.runs = nil, nil
		s.mu.Unlock()
		s.sleep(time.Minute)
		if len(s.runs) != 1 || s.runs[0].id != "g" {
			t.Errorf("ran %+v", s.runs)
		}
		s.accept("f", "after", "{}")
		s.sleep(time.Minute)
		s.wantNothingLeft()
	})
}

// A disk that is full refuses events; what is known of those that are there is written when there is room.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.stop()
		s.answer = func(*invoke.Request) (string, error) {
			s.store.mu.Lock()
			s.store.full = true
			s.store.mu.Unlock()
			return failed, nil
		}
		s.accept("f", "1", "{}")
		synctest.Wait()
		if err := s.queue.Accept(t.Context(), &Event{Lane: Lane{Key: key("f")}}); !errors.Is(err, ErrFull) {
			t.Errorf("an event: %v", err)
		}
		s.sleep(10 * time.Minute)
		if len(s.runs) != 1 {
			t.Errorf("it was tried %d times without being noted", len(s.runs))
		}
		s.mu.Lock()
		s.answer = nil
		s.mu.Unlock()
		s.store.mu.Lock()
		s.store.full = false
		s.store.mu.Unlock()
		s.sleep(time.Minute)
		if len(s.runs) != 2 {
			t.Errorf("it was tried %d times", len(s.runs))
		}
		s.wantNothingLeft()
	})
}
