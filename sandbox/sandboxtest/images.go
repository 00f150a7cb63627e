package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
)

// imageOf makes an image of a folder with one file.
func imageOf(t *testing.T, text string) (path string) {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.erofs")
	if err != nil {
		t.Skip("no mkfs.erofs: install erofs-utils")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command(mkfs, path, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// attached says whether a file is under a block device of the host, or open in a process other than this.
func attached(t *testing.T, path string) bool {
	t.Helper()
	if image, err := os.Stat(path); err == nil {
		open, err := filepath.Glob("/proc/[0-9]*/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range open {
			if strings.HasPrefix(fd, fmt.Sprintf("/proc/%d/", os.Getpid())) {
				continue
			}
			if there, err := os.Stat(fd); err == nil && os.SameFile(there, image) {
				return true
			}
		}
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if under, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(under), path) {
			return true
		}
	}
	return false
}

func images(t *testing.T, s *suite) {
	b := s.backend(t)
	spec := s.spec(t)
	if !b.Capabilities().Images {
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: "/image", Target: "/opt", Image: true})
		refused(t, b, spec)
		return
	}
	image := imageOf(t, "of the image")
	spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: image, Target: "/opt/layer", Image: true})
	x := s.create(t, b, spec)
	x.Hello()
	x.Start(x.start(1))
	x.Ready()
	if got := string(x.Invoke("r", []byte("read /opt/layer/file"))); got != "of the image" {
		t.Errorf("it holds %q", got)
	}
	for _, path := range []string{"/opt/layer/new", "/opt/layer/file"} {
		if got := string(x.Invoke("w", []byte("write "+path+" text"))); !strings.HasPrefix(got, "error:") {
			t.Errorf("writing %s: %q", path, got)
		}
	}
	if !attached(t, image) {
		t.Error("the image is under no device: the test looks in the wrong place")
	}
	if err := x.Sandbox.Close(); err != nil {
		t.Error(err)
	}
	await(t, "the image's device is gone", func() bool { return !attached(t, image) })

	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte(strings.Repeat("no image ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{broken, broken + " that is missing"} {
		spec := s.spec(t)
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Source: source, Target: "/opt", Image: true})
		refused(t, b, spec)
		await(t, "the broken image's device is gone", func() bool { return !attached(t, source) })
	}
}

// refused wants a sandbox not to be made.
func refused(t *testing.T, b sandbox.Backend, spec sandbox.Spec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sb, err := b.Create(ctx, spec)
	if err == nil {
		sb.Close()
		t.Errorf("it was made with %+v", spec.Mounts)
	}
}

// imagesRestored is for a function whose files are in an image when it is saved, and when it goes on.
func imagesRestored(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	if !b.Capabilities().Images {
		t.Skip("this backend takes no images")
	}
	with := *f
	with.mounts = append(append([]sandbox.Mount(nil), f.mounts...), sandbox.Mount{Source: imageOf(t, "layer"), Target: "/opt/layer", Image: true})
	x := with.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t)
	began := time.Now()
	same(t, before, s.restore(t, &with, b, d).ask(t, "after"))
	t.Logf("restored in %v", time.Since(began))
}
