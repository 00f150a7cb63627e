package images

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	gvisor "gvisor.dev/gvisor/pkg/erofs"

	"thaw/sandbox"
)

// mounted mounts an image or a disk by the kernel; it skips the test where that cannot be.
func mounted(t *testing.T, file, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	at := t.TempDir()
	if out, err := exec.Command("mount", "-t", kind, "-o", "loop,"+options, file, at).CombinedOutput(); err != nil {
		t.Skipf("no loop devices, or no %s in the kernel: %v: %s", kind, err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// lines describes a file as a function may see it.
func describe(path, name string, st *syscall.Stat_t, link string) string {
	s := fmt.Sprintf("%q %o %d:%d", name, st.Mode, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return s + fmt.Sprintf(" %d bytes, %d.%09d", st.Size, st.Mtim.Sec, st.Mtim.Nsec)
	case unix.S_IFLNK:
		return s + " -> " + link
	}
	return s
}

// contents lists a tree with the contents of its files, without what an image passes over.
func contents(t *testing.T, root string) (lines []string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode().Type()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0 {
			return err
		}
		name, _ := filepath.Rel(root, p)
		link, _ := os.Readlink(p)
		if d.Type().IsRegular() {
			if files[name], err = os.ReadFile(p); err != nil {
				return err
			}
		}
		lines = append(lines, describe(p, name, info.Sys().(*syscall.Stat_t), link))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines, files
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	wantLines, wantFiles := contents(t, want)
	gotLines, gotFiles := contents(t, got)
	if w, g := strings.Join(wantLines, "\n"), strings.Join(gotLines, "\n"); w != g {
		for i := range min(len(wantLines), len(gotLines)) {
			if wantLines[i] != gotLines[i] {
				t.Fatalf("the source has %s\nthe image has %s", wantLines[i], gotLines[i])
			}
		}
		t.Fatalf("the source has %d entries, the image %d", len(wantLines), len(gotLines))
	}
	for name, b := range wantFiles {
		if !bytes.Equal(b, gotFiles[name]) {
			t.Errorf("%q has other bytes in the image", name)
		}
	}
}

// TestKernelReadsImage compares an image entry by entry with its source, through the kernel that a machine has as well.
func TestKernelReadsImage(t *testing.T) {
	dir := garden(t)
	other := filepath.Join(t.TempDir(), "other")
	write(t, other, "a lone file")
	s, _ := open(t, t.TempDir())
	set := get(t, s, sandbox.Mount{Source: dir, Target: "/var/lang"}, sandbox.Mount{Source: other, Target: "/var/runtime/bootstrap"},
		sandbox.Mount{Source: dir, Target: "/var/task"})
	compare(t, dir, mounted(t, set.Drives[1].Path, "erofs", "ro"))
	at := mounted(t, set.Drives[0].Path, "erofs", "ro")
	compare(t, dir, at+set.Mounts[0].Path)
	compare(t, filepath.Dir(other), filepath.Dir(renamed(t, at+set.Mounts[2].Path, "other")))
}

// renamed copies a file, with its times, to a folder of its own.
func renamed(t *testing.T, path, name string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("cp", "-p", path, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// TestGVisorReadsImage holds that the other backend can mount what is made here (Mount.Image).
func TestGVisorReadsImage(t *testing.T) {
	dir := garden(t)
	s, _ := open(t, t.TempDir())
	f, err := os.Open(get(t, s, sandbox.Mount{Source: dir, Target: "/opt"}).Drives[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := gvisor.OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	n := 0
	var walk func(nid uint64, path string)
	walk = func(nid uint64, path string) {
		in, err := im.Inode(nid)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n++
		switch {
		case in.IsDir():
			err = in.IterDirents(func(name string, _ uint8, nid uint64) error {
				if name != "." && name != ".." {
					walk(nid, filepath.Join(path, name))
				}
				return nil
			})
		case in.IsRegular():
			var want []byte
			if want, err = os.ReadFile(path); err != nil {
				break
			}
			parts, err := in.DataRanges()
			if b := append(bytes.Clone(parts[0].Bytes), parts[1].Bytes...); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s: %d bytes, not %d: %v", path, len(b), len(want), err)
			}
		case in.IsSymlink():
			want, _ := os.Readlink(path)
			if to, err := in.Readlink(); err != nil || to != want {
				t.Errorf("%s links to %q, not %q: %v", path, to, want, err)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	walk(im.RootNid(), dir)
	lines, _ := contents(t, dir)
	if n != len(lines) {
		t.Errorf("%d entries, not %d", n, len(lines))
	}
}
