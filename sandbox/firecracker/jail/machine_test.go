package jail_test

import (
	"testing"

	"thaw/sandbox/firecracker/install/installtest"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/firecracker/vmm/vmmtest"
)

// The suite that every monitor passes, on the real Firecracker: where machines can be made.
func TestMonitor(t *testing.T) {
	if err := kvm.Probe(t.Context()); err != nil {
		t.Skip(err)
	}
	m, k := real(t), installtest.Kernel(t)
	t.Logf("%s, kernel %s", m.Key(), k.Version)
	vmmtest.Run(t, &vmmtest.Suite{
		Monitor: m, Kernel: k.Path, Initramfs: vmmtest.Initramfs(t, k.Modules), MemoryMiB: 128,
		Slot: vmmtest.Slots(t, "jail", testUID),
	})
}
