package outer

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/golden"
)

// The archive is what other programs take for one.
func TestArchive(t *testing.T) {
	busybox, err := staticBusybox()
	if err != nil {
		t.Skip(err)
	}
	here := t.TempDir()
	for name, text := range map[string]string{"one": "1", "empty": "", "below/two": "22"} {
		os.MkdirAll(filepath.Join(here, filepath.Dir(name)), 0o755)
		if err := os.WriteFile(filepath.Join(here, name), []byte(text), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("one", filepath.Join(here, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := newArchive(&b)
	a.tree("/some/where", here)
	a.strings("/job", []string{"a", "b c"})
	a.tree("/nothing", filepath.Join(here, "is not there"))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(busybox, "cpio", "-idm")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got strings.Builder
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		text, _ := os.ReadFile(p)
		info, ierr := d.Info()
		fmt.Fprintf(&got, "%s %v %q %v %v\n", rel, info.Mode(), text, err, ierr)
		return nil
	})
	want := `. drwx------ "" <nil> <nil>
job -rw-r--r-- "a\x00b c\x00" <nil> <nil>
some drwxr-xr-x "" <nil> <nil>
some/where drwxr-xr-x "" <nil> <nil>
some/where/below drwxr-xr-x "" <nil> <nil>
some/where/below/two -rwxr-x--- "22" <nil> <nil>
some/where/empty -rwxr-x--- "" <nil> <nil>
some/where/link Lrwxrwxrwx "1" <nil> <nil>
some/where/one -rwxr-x--- "1" <nil> <nil>
`
	if got.String()[strings.Index(got.String(), "\n"):] != want[strings.Index(want, "\n"):] {
		t.Errorf("unpacked:\n%s\nwant\n%s", got.String(), want)
	}
}

// How QEMU is called, which each of the notes in machine.go has a reason for.
func TestArguments(t *testing.T) {
	var b strings.Builder
	for _, k := range Kinds {
		m := Machine{Kind: k, MemoryMiB: 3072, Kernel: "VMLINUX"}
		fmt.Fprintf(&b, "%s\n", k)
		for _, a := range m.arguments("INITRD", "CONSOLE", 3) {
			fmt.Fprintf(&b, "\t%s\n", strings.ReplaceAll(a, early(hostTSC()), early(1)))
		}
	}
	golden.Equal(t, "testdata/arguments.golden", b.String())
}

// FuzzFrames: whatever comes, a frame that is read is written as it was.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	writeFrame(&b, frameFile, fileBody("name", []byte("content")))
	writeFrame(&b, frameExit, exitBody(3))
	f.Add(b.Bytes())
	f.Add([]byte{frameOutput, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			at := len(in) - r.Len()
			kind, body, err := readFrame(r)
			if err != nil {
				return
			}
			var again bytes.Buffer
			writeFrame(&again, kind, body)
			if !bytes.Equal(again.Bytes(), in[at:len(in)-r.Len()]) {
				t.Fatalf("frame %q", kind)
			}
			readExit(body)
			if name, data, err := readFile(body); err == nil && !bytes.Equal(fileBody(name, data), body) {
				t.Fatalf("file %q", body)
			}
		}
	})
}

// A machine that sends nonsense ends with an error, not with a code.
func TestReceive(t *testing.T) {
	frames := func(kinds string, bodies ...[]byte) io.Reader {
		var b bytes.Buffer
		for i, k := range []byte(kinds) {
			writeFrame(&b, k, bodies[i])
		}
		return &b
	}
	here := filepath.Join(t.TempDir(), "here")
	for name, c := range map[string]struct {
		from io.Reader
		code int
		err  string
	}{
		"a whole life":              {frames("bofx", nil, []byte("out"), fileBody("/there", []byte("1")), exitBody(5)), 5, ""},
		"no exit":                   {frames("bo", nil, []byte("out")), 0, errNoExit.Error()},
		"another kind":              {frames("?", nil), 0, "kind"},
		"a file nobody asked for":   {frames("f", fileBody("/etc/passwd", nil)), 0, "nobody asked"},
		"a file without a name":     {frames("f", []byte("x")), 0, "without a name"},
		"an exit code that is none": {frames("x", nil), 0, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			j := Job{Output: io.Discard, Notes: io.Discard, Back: []Back{{"/there", here}}}
			code, err := receive(c.from, j, func() {})
			if code != c.code || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%d, %v; want %d, %q", code, err, c.code, c.err)
			}
		})
	}
}
