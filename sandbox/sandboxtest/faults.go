package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"thaw/sandbox"
)

func readers(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	m := make(memorySink)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.save(ctx, m); err != nil {
		t.Fatal(err)
	}
	same(t, before, s.restore(t, f, b, m).ask(t, "after"))
}

func evicted(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t)
	parts := d.parts(t)
	same(t, before, s.restore(t, f, b, removing{d}).ask(t, "after"))
	for _, part := range parts {
		if _, err := os.Stat(d.path(part)); err == nil {
			t.Errorf("the test did not remove its source's %s", part)
		}
	}
}

func badSinks(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	good := x.checkpoint(t)
	for _, part := range good.parts(t) {
		for _, where := range []string{"create", "write", "close"} {
			c := s.restore(t, f, b, good)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := c.save(ctx, brokenSink{folder(t.TempDir()), part, where})
			cancel()
			wantStage(t, err, sandbox.StageSink)
			if !errors.Is(err, errBroken) {
				t.Errorf("%s at %s: error %v does not wrap the sink's", where, part, err)
			}
			c.awaitExit(t)
		}
	}
}

func wantStage(t testing.TB, err error, stages ...string) {
	t.Helper()
	var se *sandbox.SnapshotError
	if !errors.As(err, &se) {
		t.Errorf("error %v is no SnapshotError", err)
		return
	}
	for _, s := range stages {
		if se.Stage == s {
			return
		}
	}
	t.Errorf("error %v is of stage %s, want %v", err, se.Stage, stages)
}

func damaged(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	good := x.checkpoint(t)
	copied := s.restore(t, f, b, good)
	copied.ask(t, "later")
	other := copied.checkpoint(t) // a second snapshot, of the same function a moment later
	for i, c := range []struct {
		name   string
		damage func(path string, size int64) error
	}{
		{"empty", func(p string, _ int64) error { return os.Truncate(p, 0) }},
		{"cut in half", func(p string, n int64) error { return os.Truncate(p, n/2) }},
		{"cut by a page", func(p string, n int64) error { return os.Truncate(p, max(n-4096, 0)) }},
		{"longer by a page", func(p string, n int64) error { return os.Truncate(p, n+4096) }},
		{"a bit turned in the middle", func(p string, n int64) error { return turn(p, n/2) }},
		{"a bit turned at the end", func(p string, n int64) error { return turn(p, n-1) }},
		{"zeroed", func(p string, n int64) error { return errors.Join(os.Truncate(p, 0), os.Truncate(p, n)) }},
		{"that of another snapshot", nil},
		{"missing", func(p string, _ int64) error { return os.Remove(p) }},
	} {
		for _, part := range good.parts(t) {
			if c.damage == nil && alike(t, good.path(part), other.path(part)) {
				continue
			}
			t.Run(part+" "+c.name, func(t *testing.T) {
				d := folder(t.TempDir())
				for _, p := range good.parts(t) {
					from := good
					if c.damage == nil && p == part {
						from = other
					}
					copyFile(t, d.path(p), from.path(p))
				}
				if c.damage != nil {
					if err := c.damage(d.path(part), size(t, d.path(part))); err != nil {
						t.Fatal(err)
					}
				}
				spec := s.spec(t)
				spec.Mounts = f.mounts
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				var src sandbox.SnapshotSource = d
				// Of a memory that comes late, what nobody has read is not known to be damaged.
				late := b.Capabilities().LateMemory && part == good.parts(t)[len(good.parts(t))-1]
				if i%2 == 1 && !late {
					src = readerSource{folder: d}
				}
				sb, err := b.Restore(ctx, spec, src)
				if err == nil {
					sb.Close()
					t.Fatal("it was restored")
				}
				wantStage(t, err, sandbox.StageSource, sandbox.StageHeader, sandbox.StageLoad)
			})
		}
	}
	// The backend is none the worse.
	s.restore(t, f, b, good).ask(t, "after")
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// turn turns a bit of a byte.
func turn(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	return err
}

// copyFile copies a part; a memory is mostly holes, and stays so.
func copyFile(t testing.TB, to, from string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func alike(t testing.TB, one, other string) bool {
	t.Helper()
	switch err := exec.Command("cmp", "-s", one, other).Run().(type) {
	case nil:
		return true
	case *exec.ExitError:
		if err.ExitCode() == 1 {
			return false
		}
		t.Fatal(err)
	default:
		t.Fatal(err)
	}
	return false
}

func stalled(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	d := x.checkpoint(t)
	spec := s.spec(t)
	spec.Mounts = f.mounts
	parts := d.parts(t)
	largest := parts[len(parts)-1]
	fail := func(part string, r io.ReaderAt) io.ReaderAt {
		return readerFunc(func(p []byte, off int64) (int, error) {
			if part == largest && off > 0 {
				return 0, errBroken
			}
			return r.ReadAt(p[:min(len(p), 64<<10)], off)
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := b.Restore(ctx, spec, readerSource{d, fail}); err == nil {
		t.Error("a failing source was restored")
	} else {
		wantStage(t, err, sandbox.StageLoad, sandbox.StageSource)
	}
	for _, stuck := range parts {
		release := make(chan struct{})
		stall := func(part string, r io.ReaderAt) io.ReaderAt {
			return readerFunc(func(p []byte, off int64) (int, error) {
				if part == stuck {
					<-release
				}
				return r.ReadAt(p, off)
			})
		}
		short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := b.Restore(short, spec, readerSource{d, stall}) // returns although the source does not
		cancel()
		close(release)
		if err == nil {
			t.Errorf("stalled %s were restored", stuck)
			continue
		}
		wantStage(t, err, sandbox.StageLoad, sandbox.StageMake, sandbox.StageSource, sandbox.StageHeader, sandbox.StageBind)
	}
	late := &lateSource{folder: d, release: make(chan struct{}), parts: len(parts)}
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := b.Restore(short, spec, late)
	wantStage(t, err, sandbox.StageMake, sandbox.StageSource)
	close(late.release)
	for _, f := range late.files(t) {
		await(t, "a file that nobody waits for is closed", func() bool {
			_, err := f.Stat()
			return errors.Is(err, os.ErrClosed)
		})
	}
}

func snapshotLeaks(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	d := x.checkpoint(t)
	round := func() {
		for range s.few(3, 1) {
			c := s.restore(t, f, b, readerSource{folder: d})
			c.ask(t, "after")
			pids := c.PIDs()
			c.end(t)
			awaitGone(t, pids)
		}
		s.restore(t, f, b, d).end(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		spec := s.spec(t)
		spec.Mounts = []sandbox.Mount{{Source: "/there/is/no/such/folder", Target: "/var/task"}}
		if _, err := b.Restore(ctx, spec, readerSource{folder: d}); err == nil {
			t.Error("a mount of nothing was restored")
		} else {
			wantStage(t, err, sandbox.StageBind)
		}
		c := s.restore(t, f, b, d)
		c.checkpoint(t)
		c.end(t)
	}
	round()
	// Blank sandboxes come and go beside the test: it begins when none is being made, and waits for the number to come back.
	before := settledFiles(t)
	for range s.few(3, 2) {
		round()
	}
	await(t, fmt.Sprintf("%d descriptors, as before", before), func() bool { return openFiles(t) <= before+4 })
}
