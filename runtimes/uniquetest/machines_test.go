package uniquetest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/sandbox"
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

// machinesVar names the runtimes that are tried in machines, separated by commas, or is all. Without it one is, of which no client could do
// what the guest does for OpenSSL: machines are emulated here, and slow.
const machinesVar, machinesDefault = "THAW_UNIQUE_MACHINES", "nodejs22.x"

// openMachines opens microVMs for one test. Debian's kernel for clouds has no VMGENID:
// what makes copies differ is our own word alone.
func openMachines(t *testing.T) sandbox.Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("microVMs need root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o := openMonitor(ctx, t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	parts := filepath.Join(cache, "thaw", "microvm")
	k, err := install.FindKernel(parts, "", "")
	if err != nil {
		if err := install.DebianKernel(ctx, parts, func(string) {}); err != nil {
			t.Skipf("no kernel for machines: %v", err)
		}
		if k, err = install.FindKernel(parts, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "uniquetest-machines-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o711)
	archive := filepath.Join(dir, "initramfs")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(initramfs.Write(f, sandboxtest.GuestExe(t), k.Modules), f.Close()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := images.Open(images.Options{Dir: filepath.Join(dir, "images"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	o.Dir, o.Kernel, o.Initramfs, o.Images, o.Slots, o.Log = filepath.Join(dir, "microvms"), k.Path, archive, store, -1, log
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

// openMonitor takes the real Firecracker where virtual machines run, else QEMU, which emulates them.
func openMonitor(ctx context.Context, t *testing.T) firecracker.Options {
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
	return firecracker.Options{Monitor: m, FirstUID: -1, OverheadMiB: 512}
}

// In a machine nobody answers for the sandbox's kernel: its own generator is part of the snapshot, and OpenSSL cannot be told by getpid.
// Copies must differ all the same. E-130
func TestClonesOfMachinesDrawDifferentValues(t *testing.T) {
	chosen := os.Getenv(machinesVar)
	if chosen == "" {
		chosen = machinesDefault
	}
	b := openMachines(t)
	for _, r := range []struct{ identifier, handler, file string }{
		{"nodejs20.x", "index.handler", "index.js"},
		{"nodejs22.x", "index.handler", "index.js"},
		{"nodejs24.x", "index.handler", "index.js"},
		{"python3.12", "app.handler", "app.py"},
		{"java17", "example.Draws::handle", "example/Draws.java"},
		{"java25", "example.Draws::handle", "example/Draws.java"},
		{"provided.al2023", "bootstrap", "bootstrap"},
	} {
		t.Run(r.identifier, func(t *testing.T) {
			if chosen != "all" && !strings.Contains(","+chosen+",", ","+r.identifier+",") {
				t.Skipf("%s=%s, or all, tries it", machinesVar, r.identifier)
			}
			f := function{plan: plan(t, r.identifier), handler: r.handler, task: taskOf(t, r.file)}
			if strings.HasPrefix(r.identifier, "java") {
				compile(t, f)
			}
			compare(t, b, f, clones(t, 2), "DRAW_BEFORE=1")
		})
	}
}
