package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"thaw/function"
	"thaw/internal/golden"
)

func at(ms float64) time.Time {
	return time.Unix(1_768_212_000, 0).Add(time.Duration(ms * float64(time.Millisecond)))
}

func recorded() *Recorded {
	const arn = "arn:aws:lambda:eu-west-1:000000000000:function:orders:7"
	_, ids := Admit(Active, "Sampled=1", "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa", 0, nil)
	return &Recorded{Of: Of{Name: "orders", Version: "7", Account: "000000000000", Region: "eu-west-1", ARN: arn, MemoryMiB: 128, RequestID: "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa"},
		Root: root, Parent: parent, Arrived: at(0), IDs: ids}
}

// Segments are all kinds of segments, for this golden file and that of spans.
func Segments() (names []string, list []*Segment) {
	add := func(name string, s *Segment) {
		names, list = append(names, name), append(list, s)
	}
	r := recorded()
	warm := function.Timings{Taken: at(1), Started: at(2), Responding: at(9), Responded: at(10), RuntimeDone: at(11), Ended: at(11), Status: "success", Environment: "e"}
	add("the sender has its answer", r.Answered(at(10.5), Fate{Status: 200}))
	add("a warm invocation", r.Executed(&warm))
	cold := warm
	cold.Init = function.Period{From: at(-200), To: at(0.5)}
	add("a cold one", r.Executed(&cold))
	restored := warm
	restored.Restore = function.Period{From: at(-20), To: at(0.5)}
	restored.Extensions, restored.Ended = true, at(14)
	add("a restored one with extensions", r.Executed(&restored))
	failed := warm
	failed.Status, failed.ErrorType, failed.Cause = "error", "Function.Unknown", []byte(`{"working_directory":"/var/task","exceptions":[{"type":"Error","message":"no","stack":[]}]}`)
	add("the handler threw", r.Executed(&failed))
	late := function.Timings{Taken: at(1), Started: at(2), RuntimeDone: at(3002), Ended: at(3003), Status: "timeout", ErrorType: "Sandbox.Timedout", Environment: "e"}
	add("a timeout", r.Executed(&late))
	inside := function.Timings{Taken: at(1), RuntimeDone: at(31), Ended: at(32), Status: "error", ErrorType: "Runtime.ExitError", Environment: "e",
		Init: function.Period{From: at(1), To: at(31), Failed: true}}
	add("Init failed inside the invocation", r.Executed(&inside))
	lost := function.Timings{Taken: at(1), Started: at(2), RuntimeDone: at(5), Ended: at(5), Status: "failure", ErrorType: "Sandbox.Failure", Cause: []byte("{"), Environment: "e"}
	add("the environment was lost", r.Executed(&lost))
	add("throttled", r.Answered(at(0.2), Fate{Status: 429, Error: true, Throttled: true, ErrorType: "TooManyRequestsException"}))
	a := recorded()
	a.Async, a.Parent = true, ""
	first, second := Attempt{at(30), at(40), 200, "Unhandled"}, Attempt{at(60_000), at(60_010), 200, ""}
	add("an event after its first attempt", a.Tried([]Attempt{first}, false))
	add("an event after its second", a.Tried([]Attempt{first, second}, true))
	return names, list
}

// The documents of X-Ray. What environments do is in the three subsegments that AWS documents, or Restore in the place of
// Initialization; asynchronous invocations have Dwell Time and attempts.
func TestDocuments(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	names, list := Segments()
	for i, s := range list {
		b, err := s.Datagram()
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(b); err != nil {
			t.Errorf("%s: our own datagram: %v", names[i], err)
		}
		head, body, _ := bytes.Cut(b, []byte("\n"))
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "# %s\n%s\n%s\n\n", names[i], head, &pretty)
	}
	golden.Equal(t, "testdata/documents.golden", out.String())
}

// A cause may be as long as a header may be: a document must fit a datagram without it.
func TestDocumentFitsADatagram(t *testing.T) {
	t.Parallel()
	cause := []byte(`{"exceptions":[{"message":"` + strings.Repeat("x", 60<<10) + `"}]}`)
	s := recorded().Executed(&function.Timings{Taken: at(1), Started: at(2), RuntimeDone: at(3), Ended: at(3), Status: "error", ErrorType: "Function.X", Cause: cause})
	b, err := s.Datagram()
	if err != nil || len(b) > MaxDatagram || !bytes.Contains(b, []byte(`"error":true`)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// FuzzCheck: whatever a sandbox sends, what passes is a line of our own words and one JSON object.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(datagramHead + `{"name":"x"}`))
	f.Add([]byte("{\"format\": \"json\", \"version\": 1}\n{}"))
	f.Add([]byte(datagramHead + `{"name":"x"}{}`))
	f.Add([]byte("{}\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Check(b) != nil {
			return
		}
		_, body, _ := bytes.Cut(b, []byte("\n"))
		var v map[string]json.RawMessage
		if err := json.Unmarshal(body, &v); err != nil || len(b) > MaxDatagram {
			t.Errorf("%q passed: %v", b, err)
		}
	})
}

// One a second, and one in twenty of the rest.
func TestSampler(t *testing.T) {
	t.Parallel()
	s := NewSampler()
	now, dice := at(0), 0.5
	s.now, s.dice = func() time.Time { return now }, func() float64 { return dice }
	k, other := function.Key{Name: "a"}, function.Key{Name: "b"}
	for _, c := range []struct {
		k    function.Key
		dice float64
		wait time.Duration
		want bool
	}{{k, 0.5, 0, true}, {k, 0.5, 0, false}, {k, 0.04, 0, true}, {other, 0.5, 0, true}, {k, 0.5, time.Second, true}, {k, 0.05, 0, false}} {
		now, dice = now.Add(c.wait), c.dice
		if got := s.Sample(c.k); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
