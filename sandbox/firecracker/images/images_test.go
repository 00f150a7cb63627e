package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"thaw/guest/control"
	"thaw/internal/golden"
	"thaw/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter counts the images that a store has made.
type counter struct {
	slog.Handler
	n *atomic.Int64
}

func (c counter) Enabled(context.Context, slog.Level) bool { return true }
func (c counter) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "image made" {
		c.n.Add(1)
	}
	return nil
}

func open(t testing.TB, dir string, change ...func(*Options)) (*Store, *atomic.Int64) {
	t.Helper()
	made := new(atomic.Int64)
	o := Options{Dir: dir, Log: slog.New(counter{slog.DiscardHandler, made})}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, made
}

func get(t testing.TB, s *Store, mounts ...sandbox.Mount) *Set {
	t.Helper()
	set, err := s.Set(t.Context(), mounts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Release)
	return set
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// age gives everything in a folder a time long ago, so that a look at it is good at once.
func age(t testing.TB, dir string) {
	t.Helper()
	at := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(p, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
	waitSettled(t)
}

// waitSettled waits until what was changed just now is old enough.
func waitSettled(t testing.TB) {
	t.Helper()
	for changed := time.Now(); time.Since(changed) < 2*settled; time.Sleep(settled / 5) {
	}
}

// garden is a folder with all that an image must keep.
func garden(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("empty"), "")
	write(t, in("index.js"), "exports.handler = async () => 1\n")
	for _, n := range []int{4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 100_000} {
		write(t, in(fmt.Sprintf("sized/%d", n)), strings.Repeat("thaw", n/4+1)[:n])
	}
	for i := range 700 { // its names need more than one block
		write(t, in(fmt.Sprintf("many/%03d-%s", i, strings.Repeat("n", i%90))), fmt.Sprint(i))
	}
	write(t, in("deep/a/b/c/d/e/f"), "deep")
	write(t, in("odd/\xff\xfe not utf-8"), "odd")
	write(t, in("odd/-.."), "before the folder itself")
	write(t, in("odd/ü"), "u")
	err := errors.Join(
		os.Mkdir(in("hollow"), 0o700), os.Chmod(in("index.js"), 0o755), os.Chmod(in("deep"), fs.ModeSticky|0o777),
		os.Chmod(in("empty"), fs.ModeSetuid|0o711),
		os.Symlink("index.js", in("link")), os.Symlink(strings.Repeat("l/", 2000), in("long link")), os.Symlink("/nowhere", in("dangling")),
		os.Link(in("index.js"), in("hard")), unix.Mkfifo(in("pipe"), 0o600),
		os.Truncate(in("sized/100000"), 5<<20), // with a hole
	)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Lchown(in("many"), 1000, 70_000), os.Lchown(in("link"), 65_536, 1)); err != nil {
			t.Fatal(err)
		}
	}
	age(t, dir)
	return dir
}

// TestImagesOfMounts holds which drives there are, and where in them a mount is.
func TestImagesOfMounts(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, f := range []string{"usr/lib/x.so", "usr/bin/sh", "lang/bin/node", "client/main.js", "bash", "code/index.js", "layers/l", "lone"} {
		write(t, in(f), f)
	}
	if err := os.Symlink("usr/bin", in("bin")); err != nil {
		t.Fatal(err)
	}
	image := in("opt.erofs")
	if err := os.WriteFile(image, append(make([]byte, 1024), "\xe2\xe1\xf5\xe0 and so on"...), 0o644); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, t.TempDir())
	set := get(t, s,
		sandbox.Mount{Source: in("code"), Target: "/var/task"},
		sandbox.Mount{Source: image, Target: "/opt/data", Image: true},
		sandbox.Mount{Source: in("usr/lib"), Target: "/usr/lib"},
		sandbox.Mount{Source: in("usr/lib/x.so"), Target: "/lib64/x.so"},
		sandbox.Mount{Source: in("usr/bin"), Target: "/usr/bin"},
		sandbox.Mount{Source: in("bin"), Target: "/bin"},
		sandbox.Mount{Source: in("bash"), Target: "/bin/sh"},
		sandbox.Mount{Source: in("lang"), Target: "/var/lang"},
		sandbox.Mount{Source: in("client"), Target: "/var/runtime"},
		sandbox.Mount{Source: in("layers"), Target: "/opt"},
		sandbox.Mount{Source: image, Target: "/opt/again", Image: true},
	)
	var got strings.Builder
	for _, m := range set.Mounts {
		fmt.Fprintf(&got, "%s = drive %d %s\n", m.Target, m.Drive, m.Path)
	}
	fmt.Fprintf(&got, "%d drives, %d of them made\n", len(set.Drives), len(set.Digests))
	golden.Equal(t, "testdata/mounts.golden", got.String())
	if set.Drives[4].Path != image {
		t.Errorf("the image of a mount is %s, not itself", set.Drives[4].Path)
	}
	for _, d := range set.Drives {
		if info, err := os.Stat(d.Path); err != nil || d.Writable || info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("drive %+v: %v %v; monitors run as others and read it", d, info, err)
		}
	}
	// A lone file has no folder that could be the root.
	if m := get(t, s, sandbox.Mount{Source: in("lone"), Target: "/var/task/lone"}).Mounts[0]; m != (control.Mount{Path: "/0", Target: "/var/task/lone"}) {
		t.Errorf("a lone file is at %+v", m)
	}
	for _, bad := range []sandbox.Mount{
		{Source: in("nothing"), Target: "/opt"}, {Source: "code", Target: "/opt"}, {Source: in("code"), Target: "opt"},
		{Source: in("lone"), Target: "/opt", Image: true}, {Source: os.DevNull, Target: "/opt"},
	} {
		if _, err := s.Set(t.Context(), []sandbox.Mount{bad}); err == nil {
			t.Errorf("a set of %+v", bad)
		}
	}
}

// TestSameTreeSameImage holds that an image depends on its tree alone, and that its form does not change unnoticed: snapshots name
// images by it. A digest that changes is another format (see format).
func TestSameTreeSameImage(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the owners of the golden digest are root's")
	}
	var digests [2]string
	for i := range digests {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "index.py"), "def handler(event, context): return event\n")
		write(t, filepath.Join(dir, "lib/a"), strings.Repeat("a", 5000))
		if err := errors.Join(os.Symlink("a", filepath.Join(dir, "lib/b")), os.Chmod(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		age(t, dir)
		s, _ := open(t, t.TempDir())
		digests[i] = get(t, s, sandbox.Mount{Source: dir, Target: "/var/task"}).Digests[0]
	}
	if digests[0] != digests[1] {
		t.Errorf("two trees that are alike make %s and %s", digests[0], digests[1])
	}
	golden.Equal(t, "testdata/digest.golden", digests[0]+"\n")
}

func TestTwentyAtOnceMakeOne(t *testing.T) {
	dir := garden(t)
	s, made := open(t, t.TempDir())
	m := sandbox.Mount{Source: dir, Target: "/var/task"}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			set, err := s.Set(t.Context(), []sandbox.Mount{m})
			if err != nil {
				t.Error(err)
				return
			}
			set.Release()
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("%d images for 20 who wanted the same", made.Load())
	}
	get(t, s, m)
	s.Close()
	again, made := open(t, s.dir)
	get(t, again, m)
	if made.Load() != 0 {
		t.Errorf("the tree was read again after a restart")
	}
	s.Close()
	if _, err := s.Set(t.Context(), []sandbox.Mount{m}); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("a closed store says %v", err)
	}
}

// TestChangesShow holds that what is changed in a folder is in the next image, in small trees and in large ones.
func TestChangesShow(t *testing.T) {
	dir := garden(t)
	s, _ := open(t, t.TempDir())
	m := sandbox.Mount{Source: dir, Target: "/var/task"}
	last := get(t, s, m).Digests[0]
	if is := get(t, s, m).Digests[0]; is != last {
		t.Fatalf("nothing changed, yet the image is %s, not %s", is, last)
	}
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"a new file", func() error { return os.WriteFile(filepath.Join(dir, "deep/a/new"), nil, 0o644) }},
		{"a file less", func() error { return os.Remove(filepath.Join(dir, "hard")) }},
		{"another mode of a folder", func() error { return os.Chmod(filepath.Join(dir, "hollow"), 0o750) }},
		{"a replaced file", func() error {
			write(t, filepath.Join(dir, "tmp"), "exports.handler = async () => 2\n")
			return os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "index.js"))
		}},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		is := get(t, s, m).Digests[0]
		if is == last {
			t.Errorf("%s: the image is the old one", change.what)
		}
		last = is
	}
	// In place, without a trace in the folders: it shows after looksAgain in a large tree, at once in a small one.
	waitSettled(t)
	get(t, s, m)
	write(t, filepath.Join(dir, "index.js"), "exports.handler = async () => 3\n")
	for end := time.Now().Add(time.Minute); get(t, s, m).Digests[0] == last; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a file that was written in place is not in the image after a minute")
		}
	}
	small := t.TempDir()
	write(t, filepath.Join(small, "a"), "1")
	waitSettled(t)
	m = sandbox.Mount{Source: small, Target: "/opt"}
	last = get(t, s, m).Digests[0]
	write(t, filepath.Join(small, "a"), "2")
	if is := get(t, s, m).Digests[0]; is == last {
		t.Error("a file of a small tree was written in place: the image is the old one")
	}
}

// TestChangingWhileRead holds that no image mixes two states of a file.
func TestChangingWhileRead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	s, _ := open(t, t.TempDir())
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"grown", func() error { return os.WriteFile(file, []byte("longer than before"), 0o644) }},
		{"shorter", func() error { return os.Truncate(file, 1) }},
		{"same size", func() error { return os.WriteFile(file, []byte("BEFORE"), 0o644) }},
		{"gone", func() error { return os.Remove(file) }},
		{"a link now", func() error { return errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file)) }},
	} {
		os.Remove(file)
		write(t, file, "before")
		g := group{what: "task", sources: []string{dir}, whole: true}
		tree, err := scan(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		waitSettled(t)
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.writeOnce(t.Context(), tree); !errors.Is(err, ErrChanging) {
			t.Errorf("%s: %v", change.what, err)
		}
		if _, _, now, err := s.write(t.Context(), g, tree); err != nil || now.look == tree.look {
			t.Errorf("%s: not looked at again: %v", change.what, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "images", "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestDamage holds that an image is compared with its name when a process first uses it, and made again.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.js"), strings.Repeat("exports ", 5000))
	waitSettled(t)
	m := sandbox.Mount{Source: dir, Target: "/var/task"}
	s, _ := open(t, t.TempDir())
	set := get(t, s, m)
	path, digest := set.Drives[0].Path, set.Digests[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []struct {
		what string
		do   func() error
	}{
		{"a bit", func() error {
			b := bytes.Clone(whole)
			b[len(b)/2] ^= 4
			return os.WriteFile(path, b, 0o644)
		}},
		{"its end", func() error { return os.Truncate(path, int64(len(whole)-1)) }},
		{"all of it", func() error { return os.Remove(path) }},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		var made *atomic.Int64
		if s, made = open(t, s.dir); true {
			set = get(t, s, m)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, whole) || made.Load() != 1 || set.Digests[0] != digest {
			t.Errorf("%s is gone: made %d times, %v", damage.what, made.Load(), err)
		}
	}
	if err := os.Remove(path); err != nil { // under a running server
		t.Fatal(err)
	}
	if get(t, s, m); !exists(path) {
		t.Error("an image that was removed is not made again")
	}
}

// TestDamageOfALargeImage holds that it is found in the background, and at once where the file's time is another.
func TestDamageOfALargeImage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lib"), make([]byte, readAtOnce+1), 0o644); err != nil {
		t.Fatal(err)
	}
	waitSettled(t)
	m := sandbox.Mount{Source: dir, Target: "/usr/lib"}
	s, _ := open(t, t.TempDir())
	path := get(t, s, m).Drives[0].Path
	for _, hidden := range []bool{true, false} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{1}, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if hidden { // as a disk that turns a bit
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
		var made *atomic.Int64
		s, made = open(t, s.dir)
		get(t, s, m)
		if first := made.Load(); !hidden && first != 1 {
			t.Errorf("its time is another, and it was made %d times", first)
		}
		for end := time.Now().Add(time.Minute); made.Load() == 0; time.Sleep(10 * time.Millisecond) {
			get(t, s, m)
			if time.Now().After(end) {
				t.Fatal("it is not made again within a minute")
			}
		}
		if err := s.verify(t.Context(), filepath.Base(path)); err != nil {
			t.Error(err)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestEviction holds both sides of the edge, and what is never evicted.
func TestEviction(t *testing.T) {
	var mounts [3]sandbox.Mount
	for i := range mounts {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "f"), strings.Repeat(fmt.Sprint(i), 10_000))
		mounts[i] = sandbox.Mount{Source: dir, Target: "/var/task"}
	}
	waitSettled(t)
	s, _ := open(t, t.TempDir())
	size := func() int64 {
		info, err := os.Stat(get(t, s, mounts[0]).Drives[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}()
	for _, c := range []struct {
		what   string
		keep   int64
		needed int // index; -1: none
		hold   int
		left   string
	}{
		{"two fit", 2 * size, -1, -1, "-11"},
		{"a byte less", 2*size - 1, -1, -1, "--1"},
		{"none fits", size - 1, -1, -1, "---"},
		{"the oldest is needed", size, 0, -1, "1--"},
		{"the oldest is held", size, -1, 0, "1-1"},
	} {
		var need map[string]bool
		s, _ := open(t, t.TempDir(), func(o *Options) {
			o.KeepBytes, o.Needed = c.keep, func() (map[string]bool, error) { return need, nil }
		})
		var paths []string
		for i, m := range mounts {
			set, err := s.Set(t.Context(), []sandbox.Mount{m})
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, set.Drives[0].Path)
			if i == c.needed {
				need = map[string]bool{set.Digests[0]: true}
			}
			if i != c.hold {
				set.Release()
				set.Release() // a second one gives back nothing
			}
		}
		left := ""
		for _, p := range paths {
			if exists(p) {
				left += "1"
			} else {
				left += "-"
			}
		}
		if left != c.left {
			t.Errorf("%s: %s are left, not %s", c.what, left, c.left)
		}
	}
}

// TestAgain holds what a restore gets.
func TestAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "then")
	waitSettled(t)
	mounts := []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	s, _ := open(t, t.TempDir(), func(o *Options) { o.KeepBytes = 1 << 30 })
	first := get(t, s, mounts...)
	again := func() (*Set, error) { return s.Again(t.Context(), mounts, first.Digests) }
	write(t, filepath.Join(dir, "f"), "now")
	set, err := again()
	if err != nil || len(set.Drives) != 1 || set.Drives[0] != first.Drives[0] {
		t.Fatalf("the image that a snapshot was made with is there, but: %+v, %v", set, err)
	}
	set.Release()
	if err := os.Remove(first.Drives[0].Path); err != nil {
		t.Fatal(err)
	}
	if _, err := again(); !errors.As(err, new(*GoneError)) {
		t.Errorf("gone, and its mounts have changed: %v", err)
	}
	write(t, filepath.Join(dir, "f"), "then")
	then, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	first = get(t, s, mounts...)
	if err := errors.Join(os.Remove(first.Drives[0].Path), os.Chtimes(filepath.Join(dir, "f"), then.ModTime(), then.ModTime())); err != nil {
		t.Fatal(err)
	}
	if set, err = again(); err != nil || !exists(set.Drives[0].Path) {
		t.Fatalf("gone, and its mounts are as they were: %v", err)
	}
	set.Release()
}

func BenchmarkSet(b *testing.B) {
	dir := garden(b)
	s, _ := open(b, b.TempDir())
	mounts := []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	get(b, s, mounts...)
	for b.Loop() {
		set, err := s.Set(b.Context(), mounts)
		if err != nil {
			b.Fatal(err)
		}
		set.Release()
	}
}
