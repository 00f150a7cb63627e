package rewriter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/state/wire"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// The test's program is the rewriter's, too, and a launcher's that is going to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "rewrite":
			Main(os.Args[2:])
			os.Exit(0)
		case "launcher-to-kill":
			launcherToKill(os.Args[2], os.Args[3])
		}
	}
	os.Exit(m.Run())
}

func launcherToKill(state, scratch string) {
	var files [2]*os.File
	for i, path := range []string{state, scratch} {
		var err error
		if files[i], err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			panic(err)
		}
	}
	k, err := statefile.Open(files[0])
	if err != nil {
		panic(err)
	}
	rw, err := startRewriter(k.File, files[1], k.Offset, began(), began().Add(time.Hour))
	if err != nil {
		panic(err)
	}
	fmt.Println(rw.cmd.Process.Pid)
	rw.wait(context.Background())
}

func began() time.Time { return time.Unix(1e9, 0) }

// kernelOf is a kernel with a timekeeper, which refers to all the other objects.
func kernelOf(others ...wire.Object) []byte {
	types := []*wire.Type{{Name: timekeeperType, Fields: []string{"saveRealtime", "others"}}}
	refs := &wire.Array{}
	for i := range others {
		refs.Contents = append(refs.Contents, &wire.Ref{Root: wire.Uint(i + 3)})
	}
	list := &wire.Slice{Length: wire.Uint(len(others)), Capacity: wire.Uint(len(others)), Ref: wire.Ref{Root: 2}}
	return graph(types, append([]wire.Object{object(1, wire.Int(began().Add(time.Minute).UnixNano()), list), refs}, others...)...)
}

// many makes objects that are all alike but for their number, of which hash sees nothing: as files of one folder are.
func many(n int) []wire.Object {
	list := make([]wire.Object, n)
	for i := range list {
		name := wire.String("the name of a file")
		list[i] = &wire.Array{Contents: []wire.Object{&wire.Interface{Type: wire.TypeSpecNil{}, Value: &name}, &wire.Interface{Type: wire.TypeSpecNil{}, Value: wire.Uint(telling + i)}}}
	}
	return list
}

type saving struct {
	t       testing.TB
	state   *os.File
	scratch *os.File
}

// saveKernel puts a kernel where a sandbox would have saved it.
func saveKernel(t testing.TB, body []byte) saving {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the rewriter gives up root's privileges: needs root")
	}
	dir := t.TempDir()
	s := saving{t: t}
	for name, f := range map[string]**os.File{"state": &s.state, "scratch": &s.scratch} {
		var err error
		if *f, err = os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*f).Close() })
	}
	if _, err := s.state.Write(append(statefile.AppendHeader(nil, []byte(`{"a":"b"}`), 0), body...)); err != nil {
		t.Fatal(err)
	}
	return s
}

// rewrite does what the launcher does at a checkpoint, and returns the kernel that the snapshot has then.
func (s saving) rewrite(ctx context.Context) (body []byte, asSaved string, err error) {
	s.t.Helper()
	k, err := statefile.Open(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	asSaved, err = New(func(fork func()) { fork() }).Rewrite(ctx, k, s.scratch, began(), began().Add(time.Hour))
	if err != nil {
		return nil, "", err
	}
	empty := s.scratch // for pages_meta and pages
	none, err := os.Open(os.DevNull)
	if err != nil {
		s.t.Fatal(err)
	}
	defer none.Close()
	if err := new(statefile.Made).Complete(k, []*os.File{s.state, none, none}, empty); err != nil {
		s.t.Fatal(err)
	}
	whole, err := os.ReadFile(s.state.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	m, body, err := statefile.Split(whole)
	if err != nil || m.Check(body, nil) != nil {
		s.t.Fatal("the snapshot does not fit its own sums")
	}
	return body, asSaved, nil
}

func stopped(t testing.TB, body []byte) []byte {
	t.Helper()
	body = slices.Clone(body)
	if err := stopClock(body, began(), began().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestTheRewriterStopsTheClockAndWritesAnew(t *testing.T) {
	body := kernelOf(many(100_000)...) // so many that Go's runtime asks for memory, threads and signals
	got, asSaved, err := saveKernel(t, body).rewrite(t.Context())
	if err != nil || asSaved != "" {
		t.Fatal(asSaved, err)
	}
	if want := canonicalOf(t, stopped(t, body)); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want these %d with a clock that stands", len(got), len(want))
	}
}

// The rest of a kernel may be what it likes: where the clock was found, the snapshot is made, and gVisor's restore, in
// a sandbox, decides.
func TestCraftedStateEndsInTheRewriter(t *testing.T) {
	good := kernelOf(wire.Uint(1))
	for name, b := range crafted() {
		t.Run(name, func(t *testing.T) {
			body := append(slices.Clone(good), b...)
			got, asSaved, err := saveKernel(t, body).rewrite(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(asSaved, fmt.Sprintf("%d bytes: saved kernel: ", len(body))) {
				t.Errorf("told %q", asSaved)
			}
			if want := append(stopped(t, good), b...); !bytes.Equal(got, want) {
				t.Error("the kernel is not what was saved, with a clock that stands")
			}
			// Without a clock there is no snapshot.
			if _, _, err := saveKernel(t, b).rewrite(t.Context()); !errors.As(err, new(clockError)) {
				t.Errorf("without a clock: %v", err)
			}
		})
	}
}

func TestTheRewriterHasLimits(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		// One object of 60 million numbers is 60 MB as it was saved, and a gigabyte in gVisor's reader.
		big := append([]byte{kindUint, 3, kindArray, 0x80, 0x8e, 0xce, 0x1c, kindUint}, make([]byte, 60_000_000)...)
		body := kernelOf(wire.Uint(1))
		body = append(body[:len(body)-4:len(body)-4], big...) // in place of object 3
		got, asSaved, err := saveKernel(t, body).rewrite(t.Context())
		if err != nil || !strings.Contains(asSaved, fmt.Sprintf("%d bytes: saved kernel: an object of 60000006 bytes", len(body))) {
			t.Fatalf("told %q, %v", asSaved, err)
		}
		if !bytes.Equal(got, stopped(t, body)) {
			t.Error("the kernel is not what was saved, with a clock that stands")
		}
	})
	t.Run("time", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("no time is left"))
		defer cancel()
		body := longKernel()
		got, asSaved, err := saveKernel(t, body).rewrite(ctx)
		if err != nil || !strings.Contains(asSaved, "no time is left") {
			t.Fatalf("told %q, %v", asSaved, err)
		}
		if !bytes.Equal(got, stopped(t, body)) {
			t.Error("the kernel is not what was saved, with a clock that stands")
		}
	})
}

// longKernel is one that takes many seconds to write anew, and no time to look through: maps within maps, each of which
// is sorted by all that is in it.
func longKernel() []byte {
	var o wire.Object = &wire.Array{Contents: slices.Repeat([]wire.Object{wire.Uint(7)}, 1<<22)}
	for range 900 {
		o = &wire.Map{Keys: []wire.Object{wire.Uint(1)}, Values: []wire.Object{o}}
	}
	return kernelOf(o)
}

func TestTheRewriterHasNoPrivileges(t *testing.T) {
	s := saveKernel(t, longKernel())
	stray, err := unix.Open("/", unix.O_RDONLY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stray)
	rw := startOne(t, s)
	status := fmt.Sprintf("/proc/%d/status", rw.cmd.Process.Pid)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(status)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "Seccomp:\t2") {
			for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t \n", "NoNewPrivs:\t1",
				"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"} {
				if !strings.Contains(string(b), want) {
					t.Errorf("%q is not in its status:\n%s", want, b)
				}
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it did not confine itself:\n%s", b)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", rw.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for what, limit := range map[string]int{"Max data size": rewriterMemory, "Max cpu time": 30, "Max core file size": 0, "Max file size": 2 * statefile.MaxPart} {
		i := strings.Index(string(limits), what)
		var soft, hard int
		if _, err := fmt.Sscan(string(limits)[i+len(what):], &soft, &hard); err != nil || soft != limit || hard != limit {
			t.Errorf("%s: %d and %d, %v, want %d", what, soft, hard, err, limit)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", rw.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", rw.cmd.Process.Pid, fd.Name()))
		if err == nil && to != os.DevNull && to != s.state.Name() && to != s.scratch.Name() && !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "anon_inode:[event") {
			t.Errorf("it has %s open", to)
		}
	}
}

func startOne(t *testing.T, s saving) *rewriter {
	t.Helper()
	k, err := statefile.Open(s.state)
	if err != nil {
		t.Fatal(err)
	}
	rw, err := startRewriter(k.File, s.scratch, k.Offset, began(), began().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rw.cmd.Process.Kill()
		rw.wait(context.Background())
	})
	return rw
}

func TestAKilledRewriterIsTold(t *testing.T) {
	s := saveKernel(t, longKernel())
	k, err := statefile.Open(s.state)
	if err != nil {
		t.Fatal(err)
	}
	rw := startOne(t, s)
	rw.cmd.Process.Kill()
	if err := rw.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error %v", err)
	}
	// The next attempt finds everything as it was.
	if _, err := startOne(t, s), k.SetAside(s.scratch); err != nil {
		t.Error(err)
	}
}

func TestARewriterEndsWithItsLauncher(t *testing.T) {
	s := saveKernel(t, longKernel())
	cmd := exec.Command("/proc/self/exe", "launcher-to-kill", s.state.Name(), s.scratch.Name())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("/proc/%d/status", pid)
	for confined := false; !confined; time.Sleep(time.Millisecond) { // a change of user clears what ends it with its parent
		b, err := os.ReadFile(status)
		if err != nil {
			t.Fatal(err)
		}
		confined = strings.Contains(string(b), "Seccomp:\t2")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(status)
		if err != nil || strings.Contains(string(b), "State:\tZ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it goes on without its launcher:\n%s", b)
		}
	}
}

// Twice as many objects that are alike may take some more than twice as long, not four times.
func TestAlikeObjectsTakeTheirNumbersInLinearTime(t *testing.T) {
	steps := func(n int) (steps int) {
		g := &objectGraph{next: map[uint64]uint64{}}
		for range n {
			for at := uint64(5); ; steps++ {
				next, taken := g.next[at]
				if !taken {
					break
				}
				at = next
			}
			g.free(5)
		}
		return steps
	}
	if few, lots := steps(1000), steps(100_000); lots > 150*few {
		t.Errorf("%d steps for 1,000 objects, %d for 100,000", few, lots)
	}
	g := &objectGraph{next: map[uint64]uint64{}}
	taken := map[uint64]bool{}
	for i := range uint64(5000) { // from two places that grow into each other
		from := 10 + i%2*1000
		want := from
		for taken[want] {
			want++
		}
		if got := g.free(from); got != want {
			t.Fatalf("number %d from %d on, want %d", got, from, want)
		}
		taken[want] = true
	}
}
