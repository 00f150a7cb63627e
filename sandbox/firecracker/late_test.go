package firecracker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"thaw/sandbox"
	"thaw/sandbox/firecracker/pages"
)

// A machine goes on before its memory is a file. What it asked for until its first freeze is kept, for the next one, also
// of another server.
func TestLateMemory(t *testing.T) {
	sets := filepath.Join(t.TempDir(), "sets")
	b := open(t, func(o *Options) { o.WorkingSets = sets })
	if !b.Capabilities().LateMemory {
		t.Error("its capabilities do not say so")
	}
	x := create(t, b, "original")
	before := x.ask("before")
	d := folder(t.TempDir())
	if err := x.save(d); err != nil {
		t.Fatal(err)
	}
	for i, src := range []sandbox.SnapshotSource{readers{d}, d, readers{d}} {
		c := restore(t, b, fmt.Sprint("copy-", i), src)
		if after := c.ask("after"); after.Value != before.Value || after.Calls != before.Calls+1 {
			t.Errorf("copy %d says %+v, the original said %+v", i, after, before)
		}
		if _, direct := src.(folder); (c.late == nil) != direct {
			t.Errorf("copy %d: its memory is late: %v", i, !direct)
		}
		if i == 2 && c.late.known != 1 {
			t.Errorf("the working set was not given: %+v", c.late)
		}
		if err := c.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	list, err := os.ReadDir(sets)
	if err != nil || len(list) != 1 {
		t.Errorf("%d working sets, %v", len(list), err)
	}
	if w := b.sets.Get(list[0].Name(), 1<<30); fmt.Sprint(w) != fmt.Sprint(pages.WorkingSet{{Page: memoryAt / pages.Size, Count: 1}}) {
		t.Errorf("the working set is %v", w)
	}
	if open(t, nil).Capabilities().LateMemory {
		t.Error("a backend whose monitor serves no memory says that it does")
	}
}

// What is read of a memory that comes late is what was saved, or an error.
func TestLateMemoryIsWhole(t *testing.T) {
	const size = 3*sumBlock + 5000
	f := sparseFile(t, size, 10, sumBlock, 2*sumBlock-1, size-1)
	want, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	s, err := sumFile(f)
	if err != nil {
		t.Fatal(err)
	}
	l := newLateMemory(bytes.NewReader(want), s)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		off := r.Int64N(size + 10)
		got := make([]byte, r.IntN(2*sumBlock))
		n, err := l.ReadAt(got, off)
		if !bytes.Equal(got[:n], want[min(off, size):min(off+int64(len(got)), size)]) || (err == io.EOF) != (n < len(got)) || err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: %d, %v", len(got), off, n, err)
		}
	}
	for _, at := range []int64{0, sumBlock - 1, sumBlock, size - 1} {
		bad := bytes.Clone(want)
		bad[at] ^= 1
		l := newLateMemory(bytes.NewReader(bad), s)
		page := make([]byte, 100)
		if _, err := l.ReadAt(page, at-at%sumBlock); !errors.Is(err, errDamaged) {
			t.Errorf("a bit at %d was turned: %v", at, err)
		}
		if _, err := l.ReadAt(page, (at+2*sumBlock)%(3*sumBlock)/sumBlock*sumBlock); err != nil {
			t.Errorf("a bit at %d was turned, and another block is refused: %v", at, err)
		}
	}
	if _, err := newLateMemory(bytes.NewReader(want[:size-1]), s).ReadAt(make([]byte, 10), size-10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that is too short: %v", err)
	}
}
