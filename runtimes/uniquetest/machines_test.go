package uniquetest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/kernel"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/sandboxtest"
)

// machinesVar names the runtimes that are tried in machines, separated by commas, or is all. Without it one is, of which no client could do
// what the guest does for OpenSSL: machines are emulated here, and slow.
const machinesVar, machinesDefault = "THAW_UNIQUE_MACHINES", "nodejs22.x"

// openMachines opens microVMs without hardware virtualisation, for one test. Debian's kernel for clouds has no VMGENID:
// what makes copies differ is our own word alone.
func openMachines(t *testing.T) sandbox.Backend {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("microVMs need root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), machinePatience)
	defer cancel()
	monitor, err := qemu.New(ctx)
	if errors.As(err, new(*vmm.MissingError)) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	k, err := kernel.Debian(ctx, filepath.Join(cache, "thaw", "kernel"), kernel.Cloud)
	if err != nil {
		t.Skipf("no kernel for machines: %v", err)
	}
	dir, err := os.MkdirTemp("", "uniquetest-machines-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o711)
	archive, modules := filepath.Join(dir, "initramfs"), ""
	if len(k.Modules) > 0 {
		modules = filepath.Dir(k.Modules[0])
	}
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(initramfs.Write(f, sandboxtest.GuestExe(t), modules), f.Close()); err != nil {
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
	b, err := firecracker.Open(ctx, firecracker.Options{Dir: filepath.Join(dir, "microvms"), Monitor: monitor, Kernel: k.Vmlinux, Initramfs: archive, Images: store,
		Slots: -1, FirstUID: -1, OverheadMiB: 512, Log: log})
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

// machinePatience bounds what is emulated, on a machine where others work.
const machinePatience = 8 * time.Minute

// In a machine nobody answers for the sandbox's kernel: its own generator is part of the snapshot, and OpenSSL cannot be told by getpid.
// Copies must differ all the same. E-130
func TestClonesOfMachinesDrawDifferentValues(t *testing.T) {
	chosen := os.Getenv(machinesVar)
	if chosen == "" {
		chosen = machinesDefault
	}
	b := openMachines(t)
	for _, r := range []struct{ identifier, handler, file string }{
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
