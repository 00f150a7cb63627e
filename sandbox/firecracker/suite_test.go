package firecracker_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/firecracker"
	"thaw/sandbox/firecracker/firecrackertest"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/kvm"
	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/sandboxtest"
)

// suiteOptions are the whole suite on a host with KVM. Elsewhere machines are emulated, and each boot takes seconds of a
// processor: what is left out there has its test without machines, or is the guest's alone.
func suiteOptions(t *testing.T) sandboxtest.Options {
	o := sandboxtest.Options{Patience: 3 * time.Minute, MemoryMiB: 128, LimitInside: true}
	if kvm.Probe(t.Context()) == nil {
		return o
	}
	o.Small, o.Idle, o.Languages = true, []time.Duration{12 * time.Second, 45 * time.Second}, []string{"Go", "Node"}
	o.Skip = map[string]string{
		"names are checked": "TestNamesAndMountsAreChecked has it without machines",
		"what cannot be launched is an exit that says why":     "it is the guest's, as in gVisor",
		"a kill with patience lets the runtime handle SIGTERM": "it is the guest's, as in gVisor",
		"a sink that fails fails the checkpoint":               "TestACheckpointThatFails has it without machines",
		"damaged snapshots give an error and leave nothing":    "TestADamagedSnapshot has it without machines",
		"a source may be removed while it is restored":         "a snapshot's files are open before its machine begins",
		"many restores at once":                                "as many draw random bytes",
	}
	return o
}

// opener opens backends that share their images: those of the host's libraries take seconds to make.
func opener(t *testing.T) func(testing.TB) sandbox.Backend {
	t.Helper()
	store, err := images.Open(images.Options{Dir: filepath.Join(t.TempDir(), "images"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	sets := filepath.Join(t.TempDir(), "working-sets")
	return func(tb testing.TB) sandbox.Backend {
		return firecrackertest.Open(tb, func(o *firecracker.Options) {
			o.Images, o.Slots = store, 1
			if o.Monitor.Name() == "firecracker" && pages.Usable() == nil { // QEMU serves no memory
				o.WorkingSets = sets
			}
		})
	}
}

// TestSuite holds the contract of sandboxes over real machines.
func TestSuite(t *testing.T) { suiteOptions(t).Run(t, opener(t)) }

// TestSnapshots holds the contract of their snapshots.
func TestSnapshots(t *testing.T) { suiteOptions(t).RunSnapshots(t, opener(t)) }
