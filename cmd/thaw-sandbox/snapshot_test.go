package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/state/wire"
	"gvisor.dev/gvisor/runsc/version"
)

// graph encodes objects as gVisor's state files hold them.
func graph(types []*wire.Type, objects ...wire.Object) []byte {
	var b bytes.Buffer
	w := &wire.Writer{Writer: &b}
	wire.SaveUint(w, uint64(len(objects))|1<<63)
	for _, t := range types {
		wire.Save(w, t)
	}
	for i, o := range objects {
		wire.Save(w, wire.Uint(i+1))
		wire.Save(w, o)
	}
	return b.Bytes()
}

func object(id wire.TypeID, fields ...wire.Object) *wire.Struct {
	s := &wire.Struct{TypeID: id}
	s.Alloc(len(fields))
	for i, f := range fields {
		*s.Field(i) = f
	}
	return s
}

// stopClock does to a kernel what the rewriter does to a file.
func stopClock(body []byte, from, to time.Time) error {
	parts, err := survey(body)
	if err != nil {
		return err
	}
	p, err := findClock(body, parts, from, to)
	if err == nil {
		copy(body[p.at:], p.bytes)
	}
	return err
}

func TestStopClock(t *testing.T) {
	now := time.Now()
	from, to := now.Add(-time.Second), now.Add(time.Second)
	wall := wire.Int(now.UnixNano())
	types := []*wire.Type{{Name: "other", Fields: []string{"saveRealtime"}}, {Name: timekeeperType, Fields: []string{"bootTime", "saveMonotonic", "saveRealtime"}}}
	features := graph(nil, wire.Uint(7))
	keeper := func(wall wire.Int) *wire.Struct { return object(2, wire.Int(1), wire.Int(5e9), wall) }
	for _, c := range []struct {
		name string
		body []byte
		want bool
	}{
		{"one timekeeper", graph(types, object(1, wall), keeper(wall)), true},
		{"no timekeeper", graph(types, object(1, wall)), false},
		{"two timekeepers", graph(types, keeper(wall), keeper(wall)), false},
		{"saved at another time", graph(types, keeper(wall-3e9)), false},
		{"saved later", graph(types, keeper(wall+3e9)), false},
		{"a timekeeper without a saved wall time", graph([]*wire.Type{types[0], {Name: timekeeperType, Fields: []string{"bootTime"}}}, object(2, wire.Int(1))), false},
		{"a wall time that is no number", graph(types, object(2, wire.Int(1), wire.Int(2), wire.Bool(true))), false},
		{"cut short", graph(types, keeper(wall))[:40], false},
		{"nothing", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := append(slices.Clone(features), c.body...)
			before := slices.Clone(body)
			err := stopClock(body, from, to)
			if (err == nil) != c.want {
				t.Fatalf("error %v, want one: %v", err, !c.want)
			}
			if err != nil {
				return
			}
			if bytes.Equal(before, body) || len(before) != len(body) {
				t.Error("nothing was changed")
			}
			want := append(slices.Clone(features), graph(types, object(1, wall), keeper(farFuture))...)
			if !bytes.Equal(body, want) {
				t.Error("something else was changed")
			}
		})
	}
}

func stateFile(t testing.TB, m Made, body []byte) []byte {
	made, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	head, err := json.Marshal(map[string]string{madeKey: string(made)})
	if err != nil {
		t.Fatal(err)
	}
	return append(appendHeader(nil, head, 0), body...)
}

func FuzzSplitState(f *testing.F) {
	f.Add(stateFile(f, Made{Key: "k", PagesSize: 8192, PagesSums: []uint32{1}}, []byte("kernel")))
	f.Add([]byte("gVisorSF\xff\xff\xff\xff\xff\xff\xff\xff{}"))
	f.Add([]byte("gVisorSF\x00\x00\x00\x00\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, body, err := splitState(b)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("error %v does not say what it is", err)
			}
			return
		}
		if !bytes.HasSuffix(b, body) {
			t.Error("the kernel is not what follows the header")
		}
		if n := int64(len(m.PagesSums)); n*sumBlock < m.PagesSize {
			t.Errorf("%d sums of %d bytes", n, m.PagesSize)
		}
	})
}

func FuzzStopClock(f *testing.F) {
	now := time.Now()
	f.Add(graph([]*wire.Type{{Name: timekeeperType, Fields: []string{"saveRealtime"}}}, object(1, wire.Int(now.UnixNano()))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := len(b)
		stopClock(b, now.Add(-time.Hour), now.Add(time.Hour))
		if len(b) != before {
			t.Error("the length changed")
		}
	})
}

func TestMadeFits(t *testing.T) {
	m := Made{Key: "a", GVisor: version.Version()}
	if err := m.fits("a"); err != nil {
		t.Error(err)
	}
	if m.fits("b") == nil {
		t.Error("another key fits")
	}
	m.GVisor = "another"
	if m.fits("a") == nil {
		t.Error("another gVisor fits")
	}
}

func TestHeaderIsPaddedToOneRead(t *testing.T) {
	b, err := marshalHeader(map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != headSize {
		t.Errorf("%d bytes, want %d", len(b), headSize)
	}
	m, body, err := splitHeader(b)
	if err != nil || m["a"] != "b" || len(body) != 0 {
		t.Errorf("%v, %d bytes behind it, %v", m, len(body), err)
	}
	if _, err := marshalHeader(map[string]string{"a": strings.Repeat("x", headSize)}); err == nil {
		t.Error("a header longer than one read")
	}
}

func TestGeneratorOfPrograms(t *testing.T) {
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Run("a program without OpenSSL has none", func(t *testing.T) {
		if r, err := generatorOf(open("/proc/self/exe")); err != nil || r != nil {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("a text has none", func(t *testing.T) {
		if r, err := generatorOf(open("snapshot_test.go")); err == nil || r != nil {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("Node's is a small part of it", func(t *testing.T) {
		out, err := exec.Command("node", "-p", "process.config.variables.node_shared_openssl + ' ' + process.execPath").Output()
		path, static := strings.CutPrefix(strings.TrimSpace(string(out)), "false ")
		if err != nil || !static {
			t.Skip("no Node with OpenSSL inside")
		}
		f := open(path)
		fi, _ := f.Stat()
		r, err := generatorOf(f)
		if err != nil || r == nil {
			t.Fatalf("%v, %v", r, err)
		}
		if size := int64(r.Hi - r.Lo); size < 1<<10 || size > 64<<10 || int64(r.Hi) > fi.Size() {
			t.Errorf("region %+v", *r)
		}
	})
}

func TestForkIDs(t *testing.T) {
	for g := uint32(1); g < 2000; g++ {
		if offset(g) == offset(g+1) || offset(g) == 0 || int32(offset(g)+1<<22-1) < 0 {
			t.Fatalf("generation %d sees %x, the next %x", g, offset(g), offset(g+1))
		}
	}
	f := forkIDs{programs: map[string]region{"/var/lang/bin/node": {100, 200}}}
	for _, c := range []struct {
		file string
		off  uint64
		want bool
	}{
		{"/usr/lib/libcrypto.so.3", 0, true},
		{"/opt/lib/libcrypto-1a2b.so.1.1", 5, true},
		{"/usr/lib/libcryptography.so", 5, false},
		{"/usr/lib/libc.so.6", 5, false},
		{"/var/lang/bin/node", 99, false},
		{"/var/lang/bin/node", 100, true},
		{"/var/lang/bin/node", 200, false},
		{"/opt/bin/node", 150, false},
		{"", 150, false},
	} {
		if got := f.holdsGenerator(c.file, c.off); got != c.want {
			t.Errorf("%s at %d: %v, want %v", c.file, c.off, got, c.want)
		}
	}
}

func TestTakeSockets(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	old := os.Args
	defer func() { os.Args = old }()
	t.Run("the run before the last leaves everything", func(t *testing.T) {
		os.Args = []string{"runsc-sandbox", "boot", "--setup-root", "--pass-fd=77:1000", "id"}
		want := slices.Clone(os.Args)
		if f := takeSockets(); f != nil || !slices.Equal(os.Args, want) {
			t.Errorf("%v %q", f, os.Args)
		}
	})
	t.Run("none was given", func(t *testing.T) {
		os.Args = []string{"runsc-sandbox", "boot", "--setup-root=false", "id"}
		if f := takeSockets(); len(f) > 0 || len(os.Args) != 4 {
			t.Errorf("%v %q", f, os.Args)
		}
	})
}
