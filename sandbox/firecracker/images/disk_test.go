package images

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/vmm"
)

// disk makes one, or skips the test where e2fsprogs is missing.
func disk(t testing.TB, s *Store, mib int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tmp.ext4")
	err := s.Disk(t.Context(), path, mib)
	if errors.As(err, new(*vmm.MissingError)) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func allocated(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestDisks holds what a function finds at /tmp: E-137's second half. All of the size is for its files, and hardly more.
func TestDisks(t *testing.T) {
	s, _ := open(t, t.TempDir())
	for _, mib := range []int{64, 512, 10_240} {
		path := disk(t, s, mib)
		if n := allocated(t, path); n > 8<<20 {
			t.Errorf("an empty disk of %d MiB takes %d bytes of the host", mib, n)
		}
		if out, err := exec.Command("e2fsck", "-fn", path).CombinedOutput(); err != nil {
			t.Errorf("disk of %d MiB: %v: %s", mib, err, out)
		}
		at := mounted(t, path, "ext4", "rw")
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil {
			t.Fatal(err)
		}
		free, want := int64(st.Bavail)*st.Bsize, int64(mib)<<20
		if free < want || free > want+want/128+2<<20 {
			t.Errorf("%d bytes are free on a disk of %d MiB: %d more", free, mib, free-want)
		}
		if st.Ffree < uint64(mib)*63 {
			t.Errorf("%d files fit on a disk of %d MiB", st.Ffree, mib)
		}
		info, err := os.Stat(at)
		if err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
			t.Errorf("its root has the mode %v: %v", info.Mode(), err)
		}
		if list, err := os.ReadDir(at); err != nil || len(list) > 0 {
			t.Errorf("it is not empty: %v %v", list, err)
		}
	}
	for _, bad := range []int{0, -1, maxDiskMiB + 1} {
		if err := s.Disk(t.Context(), filepath.Join(t.TempDir(), "d"), bad); err == nil {
			t.Errorf("a disk of %d MiB", bad)
		}
	}
	if err := s.Disk(t.Context(), disk(t, s, 64), 64); !errors.Is(err, os.ErrExist) {
		t.Errorf("a disk over another: %v", err)
	}
}

func TestDisksAreAlike(t *testing.T) {
	var made [2][]byte
	for i := range made {
		s, _ := open(t, t.TempDir())
		b, err := os.ReadFile(disk(t, s, 8))
		if err != nil {
			t.Fatal(err)
		}
		made[i] = b
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two templates of one size differ")
	}
}

func TestCopySparse(t *testing.T) {
	from, err := os.Create(filepath.Join(t.TempDir(), "from"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	want := make([]byte, 64<<20)
	for _, at := range []int{0, 5 << 20, 5<<20 + 4096, 63 << 20} {
		copy(want[at:], bytes.Repeat([]byte{byte(at>>20 + 1)}, 4096))
		if _, err := from.WriteAt(want[at:at+4096], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Truncate(int64(len(want))); err != nil { // ends with a hole
		t.Fatal(err)
	}
	folders := map[string]string{"the same file system": t.TempDir()}
	if d, err := os.MkdirTemp("/dev/shm", "thaw-images-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(d) })
		folders["another"] = d
	}
	for what, dir := range folders {
		path := filepath.Join(dir, "to")
		to, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := CopySparse(to, from); err != nil {
			t.Fatal(err)
		}
		to.Close()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("to %s: other bytes (%v)", what, err)
		}
		if n := allocated(t, path); n > 1<<20 {
			t.Errorf("to %s: %d bytes are allocated", what, n)
		}
	}
}

func BenchmarkDisk(b *testing.B) {
	s, _ := open(b, b.TempDir())
	disk(b, s, 512)
	path := filepath.Join(b.TempDir(), "d")
	for b.Loop() {
		if err := s.Disk(b.Context(), path, 512); err != nil {
			b.Fatal(err)
		}
		os.Remove(path)
	}
}
