package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An archive is what another program takes for one.
func TestWriter(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("no busybox")
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Folder("some")
	w.Bytes("some/one", 0o750, []byte("1"))
	w.Bytes("some/empty", 0o600, nil)
	w.File("some/three", 0o644, 3, strings.NewReader("333 and more"))
	w.Link("some/link", "one")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("busybox", "cpio", "-idm")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got strings.Builder
	filepath.WalkDir(filepath.Join(dir, "some"), func(p string, d os.DirEntry, err error) error {
		text, _ := os.ReadFile(p)
		info, ierr := d.Info()
		fmt.Fprintf(&got, "%s %v %q %v %v\n", d.Name(), info.Mode(), text, err, ierr)
		return nil
	})
	want := `some drwxr-xr-x "" <nil> <nil>
empty -rw------- "" <nil> <nil>
link Lrwxrwxrwx "1" <nil> <nil>
one -rwxr-x--- "1" <nil> <nil>
three -rw-r--r-- "333" <nil> <nil>
`
	if got.String() != want {
		t.Errorf("unpacked:\n%s\nwant\n%s", got.String(), want)
	}
}

// full takes some bytes and no more.
type full int

var errFull = errors.New("it is full")

func (f *full) Write(b []byte) (int, error) {
	if *f -= full(len(b)); *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// The first error is the one that is told, and ends the archive.
func TestErrors(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.File("short", 0o644, 9, strings.NewReader("12345"))
	length := b.Len()
	w.Bytes("more", 0o644, []byte("x"))
	if err := w.Close(); err == nil || err.Error() != "cpio: short has 5 bytes, not 9" || b.Len() != length {
		t.Errorf("%v, and %d bytes after it", err, b.Len()-length)
	}
	own := errors.New("of the caller")
	w = NewWriter(&b)
	w.Fail(own)
	w.Fail(errFull)
	if err := w.Close(); !errors.Is(err, own) || !errors.Is(w.Err(), own) {
		t.Errorf("%v, %v", err, w.Err())
	}
	whole := func(w *Writer) error {
		w.Folder("dev")
		w.Device("dev/null", 0o666, 1, 3)
		w.Bytes("a", 0o644, []byte("content"))
		return w.Close()
	}
	b.Reset()
	if err := whole(NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	for room := range full(b.Len()) {
		if err := whole(NewWriter(&room)); !errors.Is(err, errFull) {
			t.Errorf("with room for less than %d bytes: %v", b.Len(), err)
		}
	}
}
