package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/pages/pagestest"
)

// saved is a memory of n pages: one of four is of zeros, no two others are alike. It counts reads, and can fail.
type saved struct {
	*bytes.Reader
	reads atomic.Int64
	fail  atomic.Bool
}

var errDisk = errors.New("the disk is gone")

func (s *saved) ReadAt(b []byte, off int64) (int, error) {
	if s.reads.Add(1); s.fail.Load() {
		return 0, errDisk
	}
	return s.Reader.ReadAt(b, off)
}

func newSaved(pages int64) *saved {
	b := make([]byte, pages*Size)
	r := rand.NewChaCha8([32]byte{1})
	for p := range pages {
		if p%4 != 3 {
			r.Read(b[p*Size : (p+1)*Size])
			b[p*Size] = byte(p%250) + 1 // what an order to read answers
		}
	}
	return &saved{Reader: bytes.NewReader(b)}
}

func first(p int64) byte {
	if p%4 == 3 {
		return 0
	}
	return byte(p%250) + 1
}

// serve starts a server and a monitor of one memory.
func serve(t testing.TB, o Options, sizes ...int64) (*Server, *monitor) {
	t.Helper()
	probe(t)
	before := descriptorsNow(t)
	o.Path, o.UID = filepath.Join(t.TempDir(), "pages.sock"), os.Geteuid()
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(sizes) == 0 {
		sizes = []int64{o.Source.Size()}
	}
	m := newMonitor(t, o.Path, sizes...)
	t.Cleanup(func() {
		m.kill()
		m.in.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(o.Path); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
		if now := descriptorsNow(t); now > before {
			t.Errorf("%d descriptors, %d before", now, before)
		}
		if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
			t.Error(err)
		}
	})
	return s, m
}

func descriptorsNow(t testing.TB) int {
	t.Helper()
	runtime.GC() // pipes of processes that have ended
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func handOver(t testing.TB, s *Server, m *monitor) {
	t.Helper()
	if got := m.say("hand-over"); got != "<nil>" {
		t.Fatalf("hand over: %s", got)
	}
	select {
	case <-s.Serving():
	case <-s.Done():
		t.Fatalf("the server has ended: %v", s.Err())
	case <-time.After(time.Minute):
		t.Fatal("the server does not serve")
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func ended(t *testing.T, s *Server) error {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the server serves a minute later")
	}
	return s.Err()
}

// TestServesWhatWasSaved holds that every page of a machine is the one that was saved, in two regions, and that a trace of one
// restore makes the next one ask for next to nothing.
func TestServesWhatWasSaved(t *testing.T) {
	const n = 4096
	source := newSaved(n)
	touched := []int64{100, 101, 102, 3, 4000, 2047, 2048, 7, 8}
	read := "read " + strings.Trim(fmt.Sprint(touched), "[]")
	var want []byte
	for _, p := range touched {
		want = append(want, first(p))
	}

	trace := new(Trace)
	s, m := serve(t, Options{Source: source, Trace: trace}, n/2*Size, n/2*Size)
	handOver(t, s, m)
	if got := m.say("%s", read); got != fmt.Sprint(want) {
		t.Errorf("the machine reads %s, not %v", got, want)
	}
	counts := trace.Counts()
	if counts.Faults != int64(len(touched)) || counts.Zeros != 3 || counts.Copied != 6*Size || counts.Prefetched != 0 {
		t.Errorf("%d pages were touched: %+v", len(touched), counts)
	}
	set := trace.WorkingSet()
	if got, want := fmt.Sprint(set), "[{100 3} {3 1} {4000 1} {2047 2} {7 2}]"; got != want {
		t.Errorf("the working set is %s, not %s", got, want)
	}
	m.sum(source, 0, n)

	set, err := ParseWorkingSet(set.Marshal(), source.Size())
	if err != nil {
		t.Fatal(err)
	}
	trace = new(Trace)
	s, m = serve(t, Options{Source: source, WorkingSet: set, Trace: trace}, n/2*Size, n/2*Size)
	handOver(t, s, m)
	eventually(t, "the working set is there", func() bool { return trace.Counts().Prefetched == int64(len(touched))*Size })
	if got := m.say("%s", read); got != fmt.Sprint(want) {
		t.Errorf("the copy reads %s, not %v", got, want)
	}
	counts = trace.Counts()
	// Runs are cut where regions end, and where pages of zeros begin: {100 3} {3} {4000} {2047} {2048} {7} {8}.
	if counts.Faults != 0 || counts.Calls != 7 || counts.Copied != 6*Size || counts.Zeros != 3 {
		t.Errorf("the second restore with the working set: %+v", counts)
	}
	m.sum(source, 0, n)
	if got := trace.Counts(); got.Faults != n-int64(len(touched)) {
		t.Errorf("all the rest was touched: %+v", got)
	}
}

// TestFaultsMeetTheWorkingSet holds that both may want a page at once.
func TestFaultsMeetTheWorkingSet(t *testing.T) {
	const n = 8192
	source, trace := newSaved(n), new(Trace)
	s, m := serve(t, Options{Source: source, WorkingSet: WorkingSet{{n / 2, n / 2}, {0, n / 2}}, Trace: trace})
	handOver(t, s, m)
	m.sum(source, 0, n)
	eventually(t, "all of it is noted", func() bool { return trace.WorkingSet().Pages() == n })
	if c := trace.Counts(); c.Copied != n/4*3*Size || c.Zeros < n/4 || c.Prefetched+c.Faults*Size < n*Size {
		t.Errorf("%d pages: %+v", n, c)
	}
}

// TestGivenBack holds that what a machine gives back is zeros afterwards, also where the working set has it.
func TestGivenBack(t *testing.T) {
	const n = 1024
	source, trace := newSaved(n), new(Trace)
	s, m := serve(t, Options{Source: source, Trace: trace})
	handOver(t, s, m)
	m.sum(source, 0, n)
	m.say("write 9 77")
	if got := m.say("give-back 8 4"); got != "<nil>" {
		t.Fatal(got)
	}
	if got := m.say("read 7 8 9 10 11 12"); got != fmt.Sprint([]byte{0, 0, 0, 0, 0, first(12)}) {
		t.Errorf("after giving back 8 to 11: %s", got)
	}
	if got := m.say("write 9 5") + m.say("read 9"); got != "ok[5]" {
		t.Errorf("a page that was given back is written: %s", got)
	}
	if c := trace.Counts(); c.Removed != 4 {
		t.Errorf("%+v", c)
	}
	// Before any of it was there.
	late := &saved{Reader: newSaved(n).Reader}
	s, m = serve(t, Options{Source: late})
	handOver(t, s, m)
	m.say("give-back 100 50")
	if got := m.say("read 99 100 149 150"); got != fmt.Sprint([]byte{0, 0, 0, first(150)}) {
		t.Errorf("after giving back 100 to 149: %s", got)
	}
}

// TestServerFails holds that the owner hears of it, since the machine cannot go on.
func TestServerFails(t *testing.T) {
	source := newSaved(64)
	s, m := serve(t, Options{Source: source})
	handOver(t, s, m)
	m.sum(source, 0, 8)
	source.fail.Store(true)
	m.order("read 30") // it hangs until it is killed
	if err := ended(t, s); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "page 30") {
		t.Errorf("the server failed with %v", err)
	}
	source.fail.Store(false)
	short := &saved{Reader: bytes.NewReader(make([]byte, 10*Size+100))} // ends within a page
	s, m = serve(t, Options{Source: short}, 11*Size)
	handOver(t, s, m)
	if got := m.say("read 9 10"); got != "[0 0]" {
		t.Error(got)
	}
}

// stuck is a source that hangs.
type stuck struct {
	*saved
	release chan struct{}
}

func (s stuck) ReadAt(b []byte, off int64) (int, error) {
	<-s.release
	return s.saved.ReadAt(b, off)
}

// TestSourceHangs holds that a server can be closed while its source gives nothing.
func TestSourceHangs(t *testing.T) {
	source := stuck{newSaved(64), make(chan struct{})}
	trace := new(Trace)
	s, m := serve(t, Options{Source: source, WorkingSet: WorkingSet{{0, 8}}, Trace: trace})
	t.Cleanup(func() { close(source.release) }) // before the look for goroutines
	handOver(t, s, m)
	m.order("read 30")
	if err := errors.Join(s.Close(), s.Err()); err != nil {
		t.Error(err)
	}
	if c := trace.Counts(); c.Faults+c.Copied > 0 {
		t.Errorf("it gave %+v", c)
	}
}

// TestMonitorEnds holds that a server does not outlive its machine, or is closed before.
func TestMonitorEnds(t *testing.T) {
	source := newSaved(64)
	s, m := serve(t, Options{Source: source})
	handOver(t, s, m)
	m.sum(source, 0, 8)
	m.kill()
	if err := s.Close(); err != nil || s.Err() != nil {
		t.Errorf("the monitor has ended: %v, %v", err, s.Err())
	}
	s, m = serve(t, Options{Source: source, WorkingSet: WorkingSet{{0, 64}}})
	handOver(t, s, m)
	s.Close()
	if err := errors.Join(s.Close(), s.Err()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	for _, early := range []bool{true, false} { // nobody came; somebody came and says nothing
		o := Options{Path: filepath.Join(t.TempDir(), "pages.sock"), UID: os.Geteuid(), Source: source}
		s, err := Listen(o)
		if err != nil {
			t.Fatal(err)
		}
		if !early {
			c, err := net.Dial("unix", o.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if err := errors.Join(s.Close(), s.Err()); err != nil {
			t.Error(err)
		}
	}
}

// TestRefused holds what a monitor that was taken over can say.
func TestRefused(t *testing.T) {
	probe(t)
	const n = 64
	source := newSaved(n)
	good := func() []region {
		return []region{{Base: 1 << 30, Size: n / 2 * Size, Page: Size}, {Base: 2 << 30, Size: n / 2 * Size, Offset: n / 2 * Size, Page: Size}}
	}
	change := func(f func(r []region)) string {
		r := good()
		f(r)
		b, _ := json.Marshal(r)
		return string(b)
	}
	empty, err := pagestest.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	userfaultfd := empty.Userfaultfd
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, c := range []struct {
		what, message string
		fds           []int
		reason        string
	}{
		{"no JSON", "hello", []int{userfaultfd}, "ends after"},
		{"other JSON", `{"a":1}`, []int{userfaultfd}, "cannot unmarshal"},
		{"nothing", "", nil, "ends after"},
		{"no regions", "[]", []int{userfaultfd}, "0 regions"},
		{"many regions", "[" + strings.Repeat("{},", maxRegions) + "{}]", []int{userfaultfd}, "65 regions"},
		{"a long message", "[" + strings.Repeat(" ", maxMessage), []int{userfaultfd}, "more than"},
		{"no descriptor", change(func(r []region) {}), nil, "no descriptor"},
		{"two descriptors", change(func(r []region) {}), []int{userfaultfd, userfaultfd}, "not one descriptor"},
		{"forty descriptors", change(func(r []region) {}), bytesToInts(bytes.Repeat([]byte{byte(userfaultfd)}, 40)), "not one descriptor"},
		{"another descriptor", change(func(r []region) {}), []int{int(null.Fd())}, "a descriptor of /dev/null"},
		{"huge pages", change(func(r []region) { r[0].Page = 2 << 20 }), []int{userfaultfd}, "pages of 2097152 bytes"},
		{"half a page", change(func(r []region) { r[1].Size-- }), []int{userfaultfd}, "not made of pages"},
		{"an odd address", change(func(r []region) { r[1].Base++ }), []int{userfaultfd}, "not made of pages"},
		{"an empty region", change(func(r []region) { r[1].Size = 0 }), []int{userfaultfd}, "not made of pages"},
		{"a region behind the end", change(func(r []region) { r[1].Offset += Size }), []int{userfaultfd}, "in a memory of"},
		{"a huge region", change(func(r []region) { r[1].Size = 1 << 63 }), []int{userfaultfd}, "in a memory of"},
		{"an offset that overflows", change(func(r []region) { r[1].Offset = ^uint64(0) &^ (Size - 1) }), []int{userfaultfd}, "in a memory of"},
		{"address 0", change(func(r []region) { r[0].Base = 0 }), []int{userfaultfd}, "at address 0x0"},
		{"an address that overflows", change(func(r []region) { r[0].Base = ^uint64(0) &^ (Size - 1) }), []int{userfaultfd}, "at address"},
		{"regions over each other", change(func(r []region) { r[1].Base = r[0].Base + Size }), []int{userfaultfd}, "overlap"},
		{"the same pages twice", change(func(r []region) { r[1].Offset -= Size }), []int{userfaultfd}, "overlap"},
		{"a negative size", strings.Replace(change(func(r []region) {}), `"size":`, `"size":-`, 1), []int{userfaultfd}, "cannot unmarshal"},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := descriptorsNow(t)
			o := Options{Path: filepath.Join(t.TempDir(), "pages.sock"), UID: os.Geteuid(), Source: source}
			s, err := Listen(o)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := pagestest.Send(o.Path, []byte(c.message), c.fds...)
			if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
				t.Fatal(err)
			}
			conn.Close()
			err = ended(t, s)
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.reason) {
				t.Errorf("answered with %v, not: %s", err, c.reason)
			}
			s.Close()
			if now := descriptorsNow(t); now > before {
				t.Errorf("%d descriptors, %d before", now, before)
			}
		})
	}
	t.Run("another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a socket to another user")
		}
		o := Options{Path: filepath.Join(t.TempDir(), "pages.sock"), UID: 1234, GID: 1234, Source: source}
		s, err := Listen(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, err := net.Dial("unix", o.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := ended(t, s); !errors.As(err, new(*RefusedError)) {
			t.Error(err)
		}
	})
	t.Run("memory that is not registered", func(t *testing.T) {
		o := Options{Path: filepath.Join(t.TempDir(), "pages.sock"), UID: os.Geteuid(), Source: source, WorkingSet: WorkingSet{{0, 1}}}
		s, err := Listen(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		conn, err := pagestest.Send(o.Path, []byte(change(func([]region) {})), userfaultfd)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := ended(t, s); !errors.As(err, new(*RefusedError)) {
			t.Error(err)
		}
	})
}

func bytesToInts(b []byte) (ints []int) {
	for _, v := range b {
		ints = append(ints, int(v))
	}
	return ints
}

// TestMessageInPieces holds that a message may come in several reads, and that a jail may lie deep.
func TestMessageInPieces(t *testing.T) {
	probe(t)
	memory, err := pagestest.Open(4 * Size)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	deep := filepath.Join(t.TempDir(), strings.Repeat("a long name/", 12)) // longer than an address
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{Path: filepath.Join(deep, "pages.sock"), UID: os.Geteuid(), Source: newSaved(4)}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir, err := os.Open(filepath.Dir(o.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	b := memory.Message()
	conn, err := pagestest.Send(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(o.Path)), b[:10], memory.Userfaultfd)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(b[10:]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Serving():
	case <-s.Done():
		t.Errorf("refused: %v", s.Err())
	case <-time.After(time.Minute):
		t.Error("not serving")
	}
}

// FuzzRegions holds that what is accepted lies within the memory.
func FuzzRegions(f *testing.F) {
	f.Add([]byte(`[{"base_host_virt_addr":4096,"size":8192,"offset":0,"page_size":4096}]`))
	f.Fuzz(func(t *testing.T, message []byte) {
		const size = 64 * Size
		regions, err := parseRegions(message, size)
		if err != nil {
			return
		}
		m := newMemory(-1, regions, newSaved(64), new(Trace))
		var total uint64
		for _, r := range regions {
			total += r.Size
			p, ok := m.pageOf(r.Base + r.Size - 1)
			if a, _, back := m.addressOf(p); !ok || !back || p < 0 || p >= 64 || a != r.Base+r.Size-Size {
				t.Fatalf("%+v", r)
			}
		}
		if total > size {
			t.Fatalf("%d bytes of %d", total, size)
		}
	})
}

func FuzzWorkingSet(f *testing.F) {
	f.Add(WorkingSet{{1, 2}, {60, 4}, {10, 1}}.Marshal())
	f.Add([]byte(mark))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, resealed(b)} {
			w, err := ParseWorkingSet(b, 64*Size)
			if err != nil {
				continue
			}
			if !bytes.Equal(w.Marshal(), b) && len(w) > 0 {
				if again, err := ParseWorkingSet(w.Marshal(), 64*Size); err != nil || fmt.Sprint(again) != fmt.Sprint(w) {
					t.Fatalf("%v becomes %v: %v", w, again, err)
				}
			}
			if w.Pages() > 64 {
				t.Fatalf("%d pages of 64", w.Pages())
			}
		}
	})
}

// resealed gives bytes a good checksum.
func resealed(b []byte) []byte {
	w := WorkingSet{}.Marshal()
	body := append(w[:len(w)-4:len(w)-4], b...)
	return appendSum(body)
}

var _ io.ReaderAt = (*saved)(nil)
