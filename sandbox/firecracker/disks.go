package firecracker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"thaw/guest/control"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
)

// Images makes the disks of machines. Which drives a machine has depends on the targets of its mounts alone, so that a
// snapshot has the same whenever it is restored.
type Images interface {
	// Set gives the drives of mounts, and makes the images that are not there yet.
	Set(ctx context.Context, mounts []sandbox.Mount) (*Set, error)
	// Again gives the drives that a snapshot was made with, by the digests of its Set. What is not here any more is made
	// from the mounts; it fails when these show something else now.
	Again(ctx context.Context, mounts []sandbox.Mount, digests []string) (*Set, error)
	// Disk makes the file at path, which must not be there, an empty ext4 disk for mib MiB of files.
	Disk(ctx context.Context, path string, mib int) error
}

// Set is what a machine has of its mounts.
type Set struct {
	Drives  []vmm.Drive     // read-only, in their order
	Mounts  []control.Mount // outer targets first
	Digests []string        // of the drives that were made here
	Release func()          // no machine uses the drives any more
}

// disks are the drives of one machine: those of its mounts, and last the disk of /tmp.
type disks struct {
	set *Set
	tmp string // path
}

// findImages has the images of the spec's mounts made, or found.
func (s *Sandbox) findImages(ctx context.Context) (err error) {
	s.disks.tmp = filepath.Join(s.dir, "tmp")
	s.disks.set, err = s.b.opt.Images.Set(ctx, s.spec.Mounts)
	return err
}

// findSavedImages finds the images that the snapshot was made with.
func (s *Sandbox) findSavedImages(ctx context.Context) (err error) {
	s.disks.tmp = filepath.Join(s.dir, "tmp")
	s.disks.set, err = s.b.opt.Images.Again(ctx, s.spec.Mounts, s.restoring.manifest.Images)
	return err
}

func (s *Sandbox) releaseImages() error {
	if s.disks.set != nil {
		s.disks.set.Release()
	}
	return nil
}

// makeDisk makes the disk of /tmp.
func (s *Sandbox) makeDisk(ctx context.Context) error {
	if err := s.b.opt.Images.Disk(ctx, s.disks.tmp, s.spec.TmpMiB); err != nil {
		return fmt.Errorf("disk of /tmp: %w", err)
	}
	return s.ownDisk()
}

// ownDisk gives the disk of /tmp to the monitor.
func (s *Sandbox) ownDisk() error {
	if err := os.Chmod(s.disks.tmp, 0o600); err != nil {
		return err
	}
	return os.Chown(s.disks.tmp, s.uid, s.uid)
}

// config is what the sandbox's machine is made of.
func (s *Sandbox) config() vmm.Config {
	c := vmm.Config{
		MemoryMiB: machineMemory(s.spec.MemoryMiB), Kernel: s.b.opt.Kernel, Initramfs: s.b.opt.Initramfs, Args: s.b.opt.Args,
	}
	c.Drives = append(append(c.Drives, s.disks.set.Drives...), vmm.Drive{Path: s.disks.tmp, Writable: true})
	return c
}
