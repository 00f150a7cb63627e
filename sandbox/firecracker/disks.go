package firecracker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/vmm"
)

// disks are the drives of one machine: those of its mounts, and last the disk of /tmp.
type disks struct {
	set *images.Set // nil: not found yet
	tmp string      // path
}

// findImages has the images of the spec's mounts made, or found.
func (s *Sandbox) findImages(ctx context.Context) (err error) {
	s.disks.tmp = filepath.Join(s.dir, "tmp")
	s.disks.set, err = s.b.opt.Images.Set(ctx, s.spec.Mounts)
	return err
}

// findSavedImages finds the images that the snapshot was made with, by their digests.
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
		Processors: s.spec.Processors, MemoryMiB: machineMemory(s.spec.MemoryMiB),
		Kernel: s.b.opt.Kernel, Initramfs: s.b.opt.Initramfs, Args: s.b.opt.Args,
	}
	c.Drives = append(append(c.Drives, s.disks.set.Drives...), vmm.Drive{Path: s.disks.tmp, Writable: true})
	return c
}
