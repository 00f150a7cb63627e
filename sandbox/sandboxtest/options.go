package sandboxtest

import (
	"os"
	"slices"
	"testing"
	"time"
)

// Options fit the suite to a backend. The zero value is the whole suite, as gVisor passes it.
type Options struct {
	// Patience bounds every wait; 0: a minute. It is the same for all suites of a test binary.
	Patience time.Duration
	// Small: a case has fewer of what it has many of, to make accidents likely; for sandboxes that take seconds to make.
	// -short makes every suite so.
	Small bool
	// Idle are how long sandboxes lie frozen; nil: all of idleTimes, with -short none.
	Idle []time.Duration
	// MemoryMiB is the functions' memory; 0: 256.
	MemoryMiB int
	// LimitInside: the sandbox's own kernel kills at the memory limit, the guest waits for no word.
	LimitInside bool
	// Languages are those of the functions that snapshots are taken of: Go, Node, Python; nil: all that the host has.
	Languages []string
	// Skip are names of cases that are left out, with the reason.
	Skip map[string]string
}

// AllVar is the environment variable that has the whole suite run, whatever the options leave out or make smaller.
const AllVar = "THAW_TEST_ALL"

// fitted is what counts of the options, said in the test's output.
func (o Options) fitted(t *testing.T) Options {
	t.Helper()
	if o.Patience != 0 {
		patience = o.Patience
	}
	if testing.Short() {
		o.Small, o.Idle = true, []time.Duration{}
	}
	if os.Getenv(AllVar) != "" {
		o.Small, o.Idle, o.Languages, o.Skip = false, nil, nil, nil
	}
	if o.Small {
		t.Logf("smaller: few of everything (%s=1: as many as the cases want)", AllVar)
	}
	if o.Idle != nil {
		t.Logf("smaller: sandboxes lie frozen for %v (%s=1: %v)", o.Idle, AllVar, idleTimes)
	} else {
		o.Idle = idleTimes
	}
	if o.Languages != nil {
		t.Logf("smaller: snapshots of functions in %v (%s=1: in all languages)", o.Languages, AllVar)
	}
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 256
	}
	return o
}

// few is how many of something a case has.
func (s *suite) few(many, small int) int {
	if s.opt.Small {
		return small
	}
	return many
}

// functions are those of the options' languages.
func (s *suite) functions(t testing.TB) (list []*function) {
	for _, f := range functions(t) {
		if s.opt.Languages == nil || slices.Contains(s.opt.Languages, f.name) {
			list = append(list, f)
		}
	}
	return list
}

// run is a case, unless the options leave it out.
func (s *suite) run(t *testing.T, name string, do func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		if why, ok := s.opt.Skip[name]; ok {
			t.Skip(why)
		}
		do(t)
	})
}
