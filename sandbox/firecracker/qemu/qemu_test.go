package qemu_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"thaw/sandbox/firecracker/kernel"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/firecracker/vmm/vmmtest"
)

// testUID is the user of machines in tests: nobody else's.
const testUID = 61235

func monitor(t testing.TB) *qemu.Monitor {
	t.Helper()
	m, err := qemu.New(t.Context())
	if err != nil {
		t.Skip("lane 1: ", err)
	}
	return m
}

// debian is Debian's cloud kernel.
func debian(t testing.TB) kernel.Kernel {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("lane 1: ", err)
	}
	k, err := kernel.Debian(t.Context(), filepath.Join(cache, "thaw", "kernel"), kernel.Cloud)
	if err != nil {
		t.Skip("lane 1: no kernel: ", err)
	}
	return k
}

// Lane 1: emulated machines with Debian's kernel.
func TestMonitor(t *testing.T) {
	m, k := monitor(t), debian(t)
	t.Logf("%s, kernel %s", m.Key(), k.Version)
	vmmtest.Run(t, &vmmtest.Suite{
		Monitor: m, Kernel: k.Vmlinux, Initramfs: vmmtest.Initramfs(t, filepath.Dir(k.Modules[0])), Args: args, MemoryMiB: 128,
		Slot: vmmtest.Slots(t, "qemu", testUID),
	})
}

// Without a user of their own, copies map the snapshot's memory file itself, instead of having a copy of it.
func TestMonitorWithSharedPages(t *testing.T) {
	m, k := monitor(t), debian(t)
	var made atomic.Int32
	vmmtest.Run(t, &vmmtest.Suite{
		Monitor: m, Kernel: k.Vmlinux, Initramfs: vmmtest.Initramfs(t, filepath.Dir(k.Modules[0])), Args: args, MemoryMiB: 128,
		Slot: func(t testing.TB) vmm.Slot {
			return vmm.Slot{Name: "shared-" + strconv.Itoa(int(made.Add(1))), Dir: t.TempDir()}
		},
		Only: []string{"copies", "copy of a copy"},
	})
}

// The kernel of our own configuration, where scripts/guest-kernel has built it.
func TestOwnKernel(t *testing.T) {
	m := monitor(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("lane 1: ", err)
	}
	built, _ := filepath.Glob(filepath.Join(cache, "thaw", "guest-kernel", "vmlinux-*"))
	if len(built) == 0 {
		t.Skip("lane 1: no kernel of our own; type: scripts/guest-kernel bin/vmlinux")
	}
	slices.SortFunc(built, func(a, b string) int { return modified(t, b).Compare(modified(t, a)) })
	vmmtest.Run(t, &vmmtest.Suite{
		Monitor: m, Kernel: built[0], Initramfs: vmmtest.Initramfs(t, ""), Args: args, MemoryMiB: 128, Slot: vmmtest.Slots(t, "qemu", testUID),
		Only: []string{"copies", "place"}, // a kernel's business is to boot, and to be copied
	})
}

func modified(t testing.TB, path string) time.Time {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.ModTime()
}

const args = "reboot=t panic=-1 quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
