package nested

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/install/installtest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := parts.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	sandboxtest.RemovePrograms()
	os.Exit(code)
}

// TestSuite holds the contract of sandboxes on Firecracker.
func TestSuite(t *testing.T) { options.Run(t, open) }

// TestSnapshots holds the contract of their snapshots.
func TestSnapshots(t *testing.T) { options.RunSnapshots(t, open) }

// options are for machines that may be emulated, and whose own kernel kills at the limit of memory.
var options = sandboxtest.Options{Patience: 3 * time.Minute, MemoryMiB: 128, LimitInside: true}

// parts are what all machines of these tests are made of.
var parts made

type made struct {
	once   sync.Once
	dir    string
	kernel install.Kernel
	images *images.Store
	err    error
}

func (m *made) make(t testing.TB) (err error) {
	if err := kvm.Probe(t.Context()); err != nil {
		return err
	}
	m.kernel = installtest.Kernel(t)
	if m.dir, err = os.MkdirTemp("", "thaw-nested-"); err != nil {
		return err
	}
	if err := os.Chmod(m.dir, 0o711); err != nil { // machines run as other users
		return err
	}
	f, err := os.Create(m.initramfs())
	if err != nil {
		return err
	}
	if err := errors.Join(initramfs.Write(f, sandboxtest.GuestExe(t), m.kernel.Modules), f.Close()); err != nil {
		return err
	}
	m.images, err = images.Open(images.Options{Dir: filepath.Join(m.dir, "images"), Log: slog.New(slog.DiscardHandler)})
	return err
}

func (m *made) initramfs() string { return filepath.Join(m.dir, "initramfs") }

func (m *made) remove() (err error) {
	if m.images != nil {
		err = m.images.Close()
	}
	if m.dir != "" {
		err = errors.Join(err, os.RemoveAll(m.dir))
	}
	return err
}

// open opens a backend on the real Firecracker, in a folder of its own.
func open(t testing.TB) sandbox.Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("microVMs need root")
	}
	parts.once.Do(func() { parts.err = parts.make(t) })
	if parts.err != nil {
		t.Skip(parts.err)
	}
	programs := installtest.Programs(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := jail.New(t.Context(), jail.Options{Firecracker: programs.Firecracker, Jailer: programs.Jailer, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(parts.dir, "microvms-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := firecracker.Open(ctx, firecracker.Options{
		Dir: dir, Monitor: m, Kernel: parts.kernel.Path, Initramfs: parts.initramfs(), Images: parts.images, Slots: 1, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
