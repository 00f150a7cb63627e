// Package firecrackertest opens microVMs for tests: the real Firecracker where virtual machines run, else QEMU, which
// emulates them.
package firecrackertest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/install/installtest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/sandboxtest"
)

// patience bounds what is downloaded and started.
const patience = 8 * time.Minute

// Open opens a backend with Debian's kernel and this tree's guest, which is closed with the test. Where something is missing that
// cannot be had, the test is skipped. change may be nil.
func Open(t testing.TB, change func(*firecracker.Options)) *firecracker.Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("microVMs need root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o := monitor(ctx, t)
	k := kernel(ctx, t)
	dir, err := os.MkdirTemp("", "firecrackertest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o711) // machines run as other users
	o.Kernel, o.Initramfs = k.Path, filepath.Join(dir, "initramfs")
	f, err := os.Create(o.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(initramfs.Write(f, sandboxtest.GuestExe(t), k.Modules), f.Close()); err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := images.Open(images.Options{Dir: filepath.Join(dir, "images"), Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	o.Images = store
	t.Cleanup(func() { // change may have named another, which is not ours to close
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	o.Dir, o.Slots = filepath.Join(dir, "microvms"), -1
	if change != nil {
		change(&o)
	}
	b, err := firecracker.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func monitor(ctx context.Context, t testing.TB) firecracker.Options {
	t.Helper()
	if kvm.Probe(ctx) == nil {
		programs := installtest.Programs(t)
		m, err := jail.New(ctx, jail.Options{Firecracker: programs.Firecracker, Jailer: programs.Jailer})
		if err != nil {
			t.Fatal(err)
		}
		return firecracker.Options{Monitor: m}
	}
	m, err := qemu.New(ctx)
	if errors.As(err, new(*vmm.MissingError)) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return firecracker.Options{Monitor: m, OverheadMiB: 512}
}

// kernel is Debian's for clouds, which tests keep in the user's cache. It has no driver of VMGENID.
func kernel(ctx context.Context, t testing.TB) install.Kernel {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	k, err := install.FindKernel(dir, "", "")
	if err == nil {
		return k
	}
	if err := install.DebianKernel(ctx, dir, func(string) {}); err != nil {
		t.Skipf("no kernel for machines: %v", err)
	}
	if k, err = install.FindKernel(dir, "", ""); err != nil {
		t.Fatal(err)
	}
	return k
}
