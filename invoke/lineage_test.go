package invoke_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

func TestContinue(t *testing.T) {
	const root = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	first, runs := invoke.Continue("", arn)
	own, begins := strings.CutPrefix(first, "Lineage=1:")
	own, ends := strings.CutSuffix(own, ":0")
	if !begins || !ends || len(own) != 8 || runs != 0 {
		t.Fatalf("nobody's header became %q, %d", first, runs)
	}
	for name, c := range map[string]struct {
		header string
		fn     function.ARN
		next   string // {} is this function's hash
		runs   int
	}{
		"a header without a lineage":        {root, arn, root + ";Lineage=1:{}:0", 0},
		"the same function again":           {root + ";Lineage=1:{}:0", arn, root + ";Lineage=1:{}:1", 1},
		"by a version's name":               {"Lineage=1:{}:7", arn + ":3", "Lineage=1:{}:8", 8},
		"another function's":                {"Lineage=1:037bed70:3;Root=x", arn, "Root=x;Lineage=1:037bed70:3|1:{}:0", 0},
		"several, in the documented form":   {"Lineage=a87bd80c:1|{}:5|c512fbe3:2", arn, "Lineage=a87bd80c:1|c512fbe3:2|1:{}:6", 6},
		"two of them":                       {"Lineage={}:1;Lineage=1:{}:4", arn, "Lineage=1:{}:5", 5},
		"spaces":                            {" Root=x ; Lineage=1:{}:1", arn, "Root=x;Lineage=1:{}:2", 2},
		"no count":                          {"Lineage={}", arn, "Lineage=1:{}:0", 0},
		"a count below nothing":             {"Lineage=1:{}:-1|1:{}:", arn, "Lineage=1:{}:0", 0},
		"a count beyond measure":            {"Lineage=1:{}:99999999999", arn, "Lineage=1:{}:0", 0},
		"what is no hash":                   {"Lineage=1:zzzzzzzz:1|x|:::|||" + strings.Repeat("y", 1000), arn, "Lineage=1:{}:0", 0},
		"an ordinary function of that name": {"Lineage=1:{}:3", "arn:aws:lambda:r:2:function:f", "", 0}, // another account's
	} {
		t.Run(name, func(t *testing.T) {
			next, runs := invoke.Continue(strings.ReplaceAll(c.header, "{}", own), c.fn)
			if c.next != "" && next != strings.ReplaceAll(c.next, "{}", own) || runs != c.runs {
				t.Errorf("%q, %d runs; want %q, %d", next, runs, c.next, c.runs)
			}
		})
	}
	header := ""
	for i := range 100 {
		header, _ = invoke.Continue(header, function.ARN(fmt.Sprint("arn:aws:lambda:r:1:function:f", i)))
	}
	if next, _ := invoke.Continue(header, arn); strings.Count(next, "|") != 31 || len(next) > 512 {
		t.Errorf("a hundred functions make %d bytes: %s", len(next), next)
	}
}

func FuzzContinue(f *testing.F) {
	f.Add("Root=1-2-3;Lineage=1:037bed70:0|a87bd80c:1")
	f.Fuzz(func(t *testing.T, header string) {
		next, runs := invoke.Continue(header, arn)
		if again, more := invoke.Continue(next, arn); more != runs+1 || runs < 0 || len(again) > len(next)+2 {
			t.Errorf("%q: %q after %d runs, then %q after %d", header, next, runs, again, more)
		}
	})
}

// A function runs 16 times in one chain, also by other names and with others in between; then it is stopped, unless it
// allows loops. C-126.
func TestLoops(t *testing.T) {
	s := open(t)
	terminate := func(r *function.Record) {}
	s.is(terminate)
	other := function.Key{Account: "1", Region: "r", Name: "g"}
	trace := "Root=1-2-3"
	call := func(k function.Key) error {
		_, err := s.invoker.Invoke(t.Context(), &invoke.Request{Function: k, Invocation: function.Invocation{InvokedARN: k.ARN("aws"), TraceID: trace}})
		if err == nil {
			trace = s.got[len(s.got)-1].TraceID
		}
		return err
	}
	between := func(allow string) {
		s.revision++
		s.view.Apply(function.Change{Revision: s.revision, Key: other, Function: &function.Record{Key: other, Partition: "aws", Incarnation: 1, Epoch: 1, Revision: s.revision,
			RecursiveLoop: allow, Latest: function.VersionRecord{Number: function.Latest, Life: function.Live, Config: function.Config{Runtime: "nodejs22.x", Package: function.Package{CodeSHA256: "code"}}}}})
	}
	between("Allow")
	for i := range invoke.MaxRuns {
		if err := errors.Join(call(key), call(other)); err != nil {
			t.Fatalf("run %d: %v", i+1, err)
		}
	}
	ran := len(s.got)
	var loop *invoke.RecursionError
	if err := call(key); !errors.As(err, &loop) || loop.Function != arn || len(s.got) != ran || len(s.looped) != 1 || s.looped[0].Name != "f" {
		t.Errorf("the seventeenth run: %v, counted %+v", err, s.looped)
	}
	if err := call(other); err != nil {
		t.Errorf("the other one allows it: %v", err)
	}
	between("Terminate")
	if err := call(other); !errors.As(err, &loop) {
		t.Errorf("the other one does no more: %v", err)
	}
	s.is(func(r *function.Record) { r.RecursiveLoop = "Allow" })
	if err := call(key); err != nil {
		t.Errorf("it allows loops: %v", err)
	}
	s.is(terminate)
	trace = ""
	if err := call(key); err != nil {
		t.Errorf("another chain: %v", err)
	}
	// What is resolved again, because its version was replaced, ran once.
	replaced := false
	s.answer = func(r *pool.Request) error {
		if !replaced {
			replaced = true
			s.is(func(r *function.Record) { r.Epoch = 2 })
			return pool.ErrSuperseded
		}
		return nil
	}
	trace = ""
	if err := call(key); err != nil || !strings.HasSuffix(trace, ":0") {
		t.Errorf("resolved again: %q, %v", trace, err)
	}
}
