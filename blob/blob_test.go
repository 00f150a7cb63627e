package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func put(t testing.TB, s *Store, r io.Reader) string {
	t.Helper()
	name, _, err := s.Put(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// files are the names of all files below dir.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPutAndOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	cases := []struct {
		name string
		r    io.Reader
		want []byte
	}{
		{"bytes that can be read twice", bytes.NewReader(big), big},
		{"a stream that can be read once", io.MultiReader(bytes.NewReader(big[:7]), bytes.NewReader(big[7:])), big},
		{"nothing", strings.NewReader(""), nil},
		{"the same again", bytes.NewReader(big), big},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			name, size, err := s.Put(t.Context(), c.r)
			if err != nil || name != hashOf(c.want) || size != int64(len(c.want)) {
				t.Fatalf("Put: %s, %d, %v", name, size, err)
			}
			got, err := s.ReadAll(t.Context(), name, 1<<30)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("the folder holds %q", got)
	}
	// All of it is there for the next process.
	if ok, err := open(t, dir).Exists(t.Context(), hashOf(big)); !ok || err != nil {
		t.Errorf("after reopening: %v, %v", ok, err)
	}
}

func TestNothingIsLeftOfABrokenPut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	broken := errors.New("broken")
	_, _, err := s.Put(t.Context(), io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = s.Put(ctx, strings.NewReader("some")); err == nil {
		t.Error("a cancelled Put did not fail")
	}
	changing := &changed{Reader: bytes.NewReader([]byte("one")), other: []byte("two")}
	if _, _, err = s.Put(t.Context(), changing); err == nil {
		t.Error("content that changed while it was stored did not fail")
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("the folder holds %q", got)
	}
}

// changed reads differently the second time.
type changed struct {
	*bytes.Reader
	other []byte
}

func (c *changed) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		c.Reader = bytes.NewReader(c.other)
	}
	return c.Reader.Seek(offset, whence)
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	name := put(t, s, strings.NewReader("content"))
	file := filepath.Join(dir, key(name))
	for _, damage := range []string{"Content", "conten", "content and more", ""} {
		if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadAll(t.Context(), name, 1<<20); !errors.Is(err, ErrDamaged) {
			t.Errorf("damaged to %q: error %v", damage, err)
		}
		put(t, s, strings.NewReader("content"))
		if b, err := s.ReadAll(t.Context(), name, 1<<20); err != nil || string(b) != "content" {
			t.Errorf("put again: %q, %v", b, err)
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, name := range []string{"", "x", "../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("0", 63), strings.Repeat("0", 64)} {
		if _, err := s.Open(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open(%q): %v", name, err)
		}
		if ok, err := s.Exists(t.Context(), name); ok || err != nil {
			t.Errorf("Exists(%q): %v, %v", name, ok, err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete(%q): %v", name, err)
		}
	}
}

func TestListAndDelete(t *testing.T) {
	s := open(t, t.TempDir())
	want := map[string]int64{}
	for _, content := range []string{"a", "bb", "ccc"} {
		want[put(t, s, strings.NewReader(content))] = int64(len(content))
	}
	got := map[string]int64{}
	if err := s.List(t.Context(), func(name string, size int64) bool { got[name] = size; return true }); err != nil {
		t.Fatal(err)
	}
	for name, size := range want {
		if got[name] != size {
			t.Errorf("%s has %d bytes in the list, want %d", name, got[name], size)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the list has %d blobs, want %d", len(got), len(want))
	}
	if err := s.List(t.Context(), func(name string, _ int64) bool { t.Errorf("%s is still there", name); return true }); err != nil {
		t.Error(err)
	}
}

func TestOpenRemovesWhatWasNeverFinished(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	name := put(t, s, strings.NewReader("content"))
	for _, p := range []string{filepath.Join(dir, key(name)) + ".17af.tmp", filepath.Join(dir, "spool-12.tmp")} {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	if got := files(t, dir); !slices.Equal(got, []string{name}) {
		t.Errorf("the folder holds %q", got)
	}
}

func TestManyPutsOfTheSame(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	content := bytes.Repeat([]byte("x"), 1<<16)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			name, _, err := s.Put(t.Context(), bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.ReadAll(t.Context(), name, 1<<20); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("the folder holds %q", got)
	}
}

// TestPutFile holds that a file becomes a blob without a copy, and that the next start removes one that never did.
func TestPutFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	scratch := func(content string) *os.File {
		f, err := s.Scratch()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := scratch("big")
	name, size, err := s.PutFile(t.Context(), f, 0o444)
	if err != nil || size != 3 {
		t.Fatal(size, err)
	}
	if b, err := s.ReadAll(t.Context(), name, 10); err != nil || string(b) != "big" {
		t.Errorf("the blob is %q: %v", b, err)
	}
	was, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.Stat(s.Path(name))
	if err != nil || !os.SameFile(was, is) || is.Mode() != 0o444 {
		t.Errorf("its file is another or has the mode %v: %v", is, err)
	}
	if p := s.Path("../" + name); p != "" {
		t.Errorf("a path for what is no name: %s", p)
	}
	if left := scratch("never given").Name(); true {
		s.Close()
		if s, err = Open(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what a process left is there after the next start: %v", err)
		}
	}
}
