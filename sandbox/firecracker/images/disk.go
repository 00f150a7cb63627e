package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
)

// maxDiskMiB is the largest /tmp. Source: Lambda Developer Guide, "Configure ephemeral storage": 512 to 10,240 MB.
const maxDiskMiB = 10_240

// diskUUID is that of every disk: a machine has one of them.
const diskUUID = "74686177-0000-4000-8000-746d70646973"

// diskBytes is how large the file of a disk is on which files have mib MiB; the file system needs the rest. 256 bytes for each
// 16 KiB are inodes, bitmaps and descriptors have less than a thousandth, and the kernel keeps back 2 %, at most 4,096 blocks
// (ext4_calculate_resv_clusters in fs/ext4/super.c).
func diskBytes(mib int) int64 {
	files := int64(mib) << 20
	return files + files/64 + files/1024 + min(files/48, 4096*4096) + 1<<20
}

// Disk makes the file at path, which must not be there, an empty ext4 disk for mib MiB of files: sparse, its root as /tmp is.
// It is a copy of a template that is made once for each size. *vmm.MissingError when mkfs.ext4 is not installed,
// *sandbox.ResourceError when the disk is full.
func (s *Store) Disk(ctx context.Context, path string, mib int) error {
	if mib < 1 || mib > maxDiskMiB {
		return fmt.Errorf("a /tmp of %d MiB: it has 1 to %d", mib, maxDiskMiB)
	}
	template := filepath.Join(s.dir, "disks", fmt.Sprintf("%d-%d.ext4", format, mib))
	info, err := os.Stat(template)
	if err != nil || info.Size() != diskBytes(mib) {
		if _, err := s.once(ctx, "disk "+template, func() (any, error) { return nil, s.makeTemplate(template, mib) }); err != nil {
			return fmt.Errorf("/tmp of %d MiB: %w", mib, noRoom(err))
		}
	}
	from, err := os.Open(template)
	if err != nil {
		return err
	}
	defer from.Close()
	return copyNew(from, path)
}

// copyNew makes a new file a copy, or nothing.
func copyNew(from *os.File, path string) error {
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = CopySparse(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		os.Remove(path) //nolint:errcheck // the first error says it
	}
	return noRoom(err)
}

func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &sandbox.ResourceError{Resource: "disk", Err: err}
	}
	return err
}

// makeTemplate makes an empty disk: without a journal, since nothing of it outlives its machine but in snapshots, which are
// taken when it is synced; with its tables written as holes, so that no machine writes them later.
func (s *Store) makeTemplate(path string, mib int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more when all went well
	if err = errors.Join(f.Truncate(diskBytes(mib)), f.Close()); err != nil {
		return err
	}
	err = s.run("mkfs.ext4", "-q", "-F", "-b", "4096", "-I", "256", "-i", "16384", "-m", "0", "-U", diskUUID,
		"-O", "^has_journal,^resize_inode", "-E", "nodiscard,lazy_itable_init=0,hash_seed="+diskUUID, f.Name())
	if err != nil {
		return err
	}
	// /tmp on the service is empty, and everybody's.
	commands := "rmdir lost+found\nset_inode_field / mode 041777\n"
	for _, field := range []string{"atime", "ctime", "mtime", "crtime"} {
		commands += fmt.Sprintf("set_inode_field / %s @%d\n", field, buildTime)
	}
	for _, field := range []string{"mkfs_time", "wtime", "lastcheck"} {
		commands += fmt.Sprintf("set_super_value %s @%d\n", field, buildTime)
	}
	list := f.Name() + ".commands"
	defer os.Remove(list)
	if err := os.WriteFile(list, []byte(commands), 0o600); err != nil {
		return err
	}
	if err := s.run("debugfs", "-w", "-f", list, f.Name()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Missing says what of the programs that make disks is not installed.
func Missing() error {
	for _, name := range []string{"mkfs.ext4", "debugfs"} {
		if _, err := find(name); err != nil {
			return err
		}
	}
	return nil
}

// find finds a program of e2fsprogs.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		if path = filepath.Join("/sbin", name); os.Getuid() != 0 || !executable(path) { // a PATH without sbin
			return "", &vmm.MissingError{What: name + " is not installed", Hint: "apt-get install e2fsprogs"}
		}
	}
	return path, nil
}

// run runs a program of e2fsprogs.
func (s *Store) run(name string, args ...string) error {
	path, err := find(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(s.ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBUGFS_PAGER=cat", fmt.Sprint("E2FSPROGS_FAKE_TIME=", buildTime)}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if strings.Contains(said.String(), "No space left") {
			err = errors.Join(err, unix.ENOSPC)
		}
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// CopySparse makes an empty file a copy of another one, holes as holes: the disk of a snapshot for a clone. Where the file
// system can share blocks between files nothing is copied.
func CopySparse(to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	size := info.Size()
	if err := to.Truncate(size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // a hole up to the end
		}
		if err != nil { // the file system knows no holes
			return copyRange(to, from, at, size)
		}
		hole, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return &os.PathError{Op: "seek", Path: from.Name(), Err: err}
		}
		if err := copyRange(to, from, data, min(hole, size)); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// copyRange copies bytes in the kernel, or through us where the two are on different file systems.
func copyRange(to, from *os.File, at, end int64) error {
	for at < end {
		in, out := at, at
		n, err := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, int(min(end-at, 1<<30)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			_, err := io.Copy(io.NewOffsetWriter(to, at), io.NewSectionReader(from, at, end-at))
			return err
		}
		at += int64(n)
	}
	return nil
}
