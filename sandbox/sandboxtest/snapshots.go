package sandboxtest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// RunSnapshots runs the part of the suite that is for backends with Capabilities.Snapshots, all of it.
func RunSnapshots(t *testing.T, open func(t testing.TB) sandbox.Backend) {
	Options{}.RunSnapshots(t, open)
}

// RunSnapshots runs that part as the options say.
//
// Its functions (snapshotfn) exist in Go, Node and Python; the last two where the host has an interpreter. Each makes in Init a value in memory, a file in /tmp, a
// timer and a connection to itself, and draws from OpenSSL; each invocation says whether these still work, both clocks, and something from every random generator
// that the kernel alone can make unique.
func (o Options) RunSnapshots(t *testing.T, open func(t testing.TB) sandbox.Backend) {
	s := &suite{open: open, opt: o.fitted(t)}
	if caps := s.backend(t).Capabilities(); !caps.Snapshots || caps.SnapshotKey == "" {
		t.Fatalf("a backend with these capabilities takes no snapshots: %+v", caps)
	}
	asleep := s.sleepingCopies(t)
	for _, f := range s.functions(t) {
		t.Run(f.name, func(t *testing.T) {
			for _, c := range []struct {
				name string
				run  func(*testing.T, *suite, *function)
			}{
				{"a copy goes on where the snapshot was taken", goesOn},
				{"copies of copies go on, too", generations},
				{"copies draw no random bytes twice, of Go fifty", unique},
			} {
				s.run(t, c.name, func(t *testing.T) { c.run(t, s, f) })
			}
		})
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *suite, *function)
	}{
		{"the original ends with its checkpoint", originals},
		{"parts may come from readers", readers},
		{"an image is there again after a restore", imagesRestored},
		{"a source may be removed while it is restored", evicted},
		{"a sink that fails fails the checkpoint", badSinks},
		{"damaged snapshots give an error and leave nothing", damaged},
		{"a source that stalls is given up", stalled},
		{"many restores at once", many},
		{"snapshots leave nothing behind", snapshotLeaks},
	} {
		s.run(t, c.name, func(t *testing.T) { c.run(t, s, functions(t)[0]) })
	}
	s.run(t, "a copy answers after 12, 45 and 130 s of being frozen", func(t *testing.T) {
		if len(asleep) == 0 {
			t.Skip("-short: no copy lies frozen for long")
		}
		for _, c := range asleep {
			t.Run(c.name, c.wake)
		}
	})
}

// state is what a function says.
type state struct {
	Value, Kept string
	Loop, Fired bool
	Calls, PID  int
	Mono, Wall  float64
	Random      map[string]string
}

// begin runs a function through its Init.
func (f *function) begin(t testing.TB, s *suite, b sandbox.Backend) *box {
	t.Helper()
	spec := s.spec(t)
	spec.Mounts = f.mounts
	x := s.create(t, b, spec)
	x.Hello()
	start := x.start(1, f.vars...)
	start.Argv, start.Candidates = f.argv, nil
	x.Start(start)
	x.Ready()
	return x
}

// ask invokes a function.
func (x *box) ask(t testing.TB, id string) state {
	t.Helper()
	var st state
	if err := json.Unmarshal(x.Invoke(id, []byte("{}")), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// save quiesces a sandbox and saves it.
func (x *box) save(ctx context.Context, sink sandbox.SnapshotSink) error {
	x.Send(wire.KindQuiesce, nil, nil)
	x.Take(wire.KindQuiesced, nil)
	return x.Checkpoint(ctx, sink)
}

// checkpoint saves a sandbox into a folder.
func (x *box) checkpoint(t testing.TB) folder {
	t.Helper()
	d := folder(t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.save(ctx, d); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	return d
}

// restore makes a copy and tells its guest.
func (s *suite) restore(t testing.TB, f *function, b sandbox.Backend, src sandbox.SnapshotSource) *box {
	t.Helper()
	spec := s.spec(t)
	spec.Mounts = f.mounts
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sb, err := b.Restore(ctx, spec, src)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return s.adopt(t, b, spec, sb)
}

func (s *suite) adopt(t testing.TB, b sandbox.Backend, spec sandbox.Spec, sb sandbox.Sandbox) *box {
	t.Helper()
	x := &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec}
	t.Cleanup(func() { x.end(t) })
	x.restored()
	return x
}

func (x *box) end(t testing.TB) {
	t.Helper()
	if err := x.Sandbox.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	x.AwaitEnd()
}

func (x *box) restored() {
	entropy := make([]byte, 64)
	rand.Read(entropy)
	x.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: entropy, EnvID: string(x.spec.ID)}, nil)
	x.Ready() // ends the restore
}

// same checks what must survive a snapshot.
func same(t testing.TB, before, after state) {
	t.Helper()
	if after.Value != before.Value || after.Kept != before.Kept || after.Kept == "" || after.PID != before.PID {
		t.Errorf("the copy has another memory or /tmp: %+v, before %+v", after, before)
	}
	if after.Calls != before.Calls+1 {
		t.Errorf("call %d follows call %d", after.Calls, before.Calls)
	}
	if !after.Loop {
		t.Error("the connection to itself is broken")
	}
	if after.Fired {
		t.Error("a timer fired long before its time")
	}
	for name, v := range after.Random {
		if v == before.Random[name] {
			t.Errorf("%s gave %s twice", name, v)
		}
	}
}
