package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func mustCreate(t *testing.T, dir string, writes ...Write) *Journal {
	t.Helper()
	j, err := Create(dir, writes, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func mustRead(t *testing.T, dir string) *Found {
	t.Helper()
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(key string, revision uint64) Write {
	return Write{Bucket: "b", Key: key, Revision: revision, Value: []byte(fmt.Sprint(key, revision))}
}

// Many write at once, the file is rewritten under them again and again, and nothing is lost or comes back.
func TestManyWritersAndRewrites(t *testing.T) {
	dir := t.TempDir()
	j := mustCreate(t, dir)
	const writers, each = 8, 60
	big := bytes.Repeat([]byte("x"), 16<<10) // so that the file is rewritten
	var revision uint64
	var mu sync.Mutex
	next := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		revision++
		return revision
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				first, second := next(), next()
				// The later write of a key may come first.
				for _, wr := range []Write{{Bucket: "b", Key: fmt.Sprint("gone", w, i), Revision: second, Deleted: true}, {Bucket: "b", Key: fmt.Sprint("gone", w, i), Revision: first},
					{Bucket: "b", Key: fmt.Sprint("kept", w), Revision: next(), Value: append(big, byte(i))}} {
					if err := j.Append(wr); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if st, err := os.Stat(filepath.Join(dir, fileName)); err != nil || st.Size() > 6<<20 {
		t.Errorf("the file was not rewritten: %v, %v", st.Size(), err)
	}
	live, last, err := j.Snapshot()
	if err != nil || len(live) != writers || last["b"] != revision {
		t.Fatalf("%d live, last %v, %v", len(live), last, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	found := mustRead(t, dir)
	v := found.Judge(nil, false)
	if !found.Whole() || v.Incomplete != "" || len(v.Writes) != writers || v.Last["b"] != revision {
		t.Fatalf("whole %v, %q, %d writes, last %v", found.Whole(), found.Damage(), len(v.Writes), v.Last)
	}
	for _, w := range v.Writes {
		if w.Value[len(w.Value)-1] != each-1 {
			t.Errorf("%s is an old one", w.Key)
		}
	}
}

// Whatever byte of the file is changed, and wherever it ends, the journal does not call itself whole, unless what is
// gone was never acknowledged.
func TestEveryByte(t *testing.T) {
	dir := t.TempDir()
	j := mustCreate(t, dir, put("a", 1), put("b", 2))
	for i := range uint64(3) {
		if err := j.Append(put("c", 3+i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range Files {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 1 + at/700 { // the end of the mark is empty
			b := bytes.Clone(whole)
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if mustRead(t, dir).Whole() {
				t.Errorf("%s: whole with byte %d changed", name, at)
			}
			if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
				t.Fatal(err)
			}
			if mustRead(t, dir).Whole() {
				t.Errorf("%s: whole with its first %d bytes", name, at)
			}
		}
		if err := os.WriteFile(path, append(bytes.Clone(whole), "half a line, then another\n and half"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if f := mustRead(t, dir); f.Whole() != (name == fileName) { // a write that was under way
			t.Errorf("%s with a torn write: %q", name, f.Damage())
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := mustRead(t, dir)
	if !found.Whole() {
		t.Fatalf("%q", found.Damage())
	}
}

// A write that the disk refused is tried again with the next one, and what it left half is not in the way.
func TestRefusedWrite(t *testing.T) {
	dir := t.TempDir()
	j := mustCreate(t, dir)
	real := j.file
	var err error
	if j.file, err = os.Open(filepath.Join(dir, fileName)); err != nil { // read only: every write fails
		t.Fatal(err)
	}
	if err := j.Append(put("a", 1)); err == nil {
		t.Fatal("a write that failed was acknowledged")
	}
	j.file.Close()
	j.file = real
	if err := j.Append(put("b", 2)); err != nil {
		t.Fatal(err)
	}
	j.Close()
	if v := mustRead(t, dir).Judge(nil, false); len(v.Writes) != 2 || v.Incomplete != "" {
		t.Errorf("%+v", v)
	}
}
