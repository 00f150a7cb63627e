package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/firecracker/vmm"
)

// QEMU is the program that emulates machines where the host has no KVM.
const QEMU = "qemu-system-x86_64"

// TunDevice is what machines have their networks by.
const TunDevice = "/dev/net/tun"

// MicroVMDir is the folder of what microVMs are made of.
func (c *Config) MicroVMDir() string {
	if c.microVMs != "" {
		return c.microVMs
	}
	return filepath.Join(c.DataDir, "microvm")
}

// MoveData gives the server another data folder. What microVMs are made of stays where it is: it is large, and
// somebody has put it there.
func (c *Config) MoveData(dir string) { c.microVMs, c.DataDir = c.MicroVMDir(), dir }

// SandboxInstallCommand is what to type to put what a sandbox needs where this server looks for it.
func (c *Config) SandboxInstallCommand(sandbox string) string {
	dir := filepath.Dir(c.MicroVMDir())
	if dir == DefaultDataDir() {
		return "thaw sandbox install " + sandbox
	}
	return "thaw sandbox install " + sandbox + " --data-dir " + dir
}

// MicroVMs says what microVMs of this server are made of, and what is missing.
func (c *Config) MicroVMs(ctx context.Context) install.Found {
	own := install.Choice{Firecracker: c.Firecracker, Jailer: c.Jailer, Kernel: c.GuestKernel}
	return install.Find(ctx, c.MicroVMDir(), own, c.SandboxInstallCommand("firecracker"))
}

// CanFirecracker says why microVMs cannot be used here; nil: they can.
func (c *Config) CanFirecracker(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return &vmm.MissingError{What: "it needs root: jails, networks, control groups", Hint: "sudo thaw server"}
	}
	if err := kvm.Probe(ctx); err != nil {
		return err // without KVM nobody has to install anything
	}
	return errors.Join(c.MicroVMs(ctx).Err(), HasTun(), images.Missing())
}

// CanQEMU says why emulated microVMs cannot be used here; nil: they can.
func (c *Config) CanQEMU() error {
	if os.Geteuid() != 0 {
		return &vmm.MissingError{What: "it needs root: networks, control groups", Hint: "sudo thaw server"}
	}
	_, err := exec.LookPath(QEMU)
	if err != nil {
		err = &vmm.MissingError{What: "there is no " + QEMU, Hint: "apt-get update && apt-get install -y --no-install-recommends qemu-system-x86"}
	}
	_, kernel := install.FindKernel(c.MicroVMDir(), c.GuestKernel, c.SandboxInstallCommand("qemu"))
	return errors.Join(err, kernel, HasTun(), images.Missing())
}

// HasTun says whether this host gives machines a network.
func HasTun() error {
	fd, err := unix.Open(TunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &vmm.MissingError{What: fmt.Sprintf("%s: %v", TunDevice, err), Hint: "modprobe tun"}
	}
	return unix.Close(fd)
}
