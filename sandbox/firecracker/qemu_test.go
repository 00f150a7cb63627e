package firecracker

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/sandboxtest"
)

// realParts are what machines of these tests are made of: Debian's kernel and this tree's guest.
var realParts struct {
	once              sync.Once
	kernel, initramfs string
	err               error
}

// machineParts makes them, or skips the test where they cannot be had.
func machineParts(t testing.TB) (kernel, archive string) {
	t.Helper()
	r := &realParts
	r.once.Do(func() { r.kernel, r.initramfs, r.err = makeParts(t) })
	var missing *vmm.MissingError
	if errors.As(r.err, &missing) {
		t.Skip(r.err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.kernel, r.initramfs
}

func makeParts(t testing.TB) (kernel, archive string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	if err := install.DebianKernel(testContext(t), dir, func(string) {}); err != nil {
		return "", "", err
	}
	k, err := install.FindKernel(dir, "", "")
	if err != nil {
		return "", "", err
	}
	testImages(t) // makes the folder
	f, err := os.Create(filepath.Join(shared.dir, "initramfs"))
	if err != nil {
		return "", "", err
	}
	return k.Path, f.Name(), errors.Join(initramfs.Write(f, sandboxtest.GuestExe(t), k.Modules), f.Close())
}

// openQEMU opens a backend over real machines, emulated.
func openQEMU(t testing.TB) sandbox.Backend {
	t.Helper()
	needRoot(t)
	monitor, err := qemu.New(testContext(t))
	var missing *vmm.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	kernel, archive := machineParts(t)
	b, err := Open(testContext(t), Options{
		Dir: filepath.Join(openFolder(t), "microvms"), Monitor: monitor, Kernel: kernel, Initramfs: archive, Images: testImages(t), Slots: 1,
		OverheadMiB: 512, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// emulated fits the suite to machines whose every boot takes seconds of a processor.
func emulated() sandboxtest.Options {
	return sandboxtest.Options{
		Patience: 3 * time.Minute, Small: true, Idle: []time.Duration{12 * time.Second, 45 * time.Second}, MemoryMiB: 128, LimitInside: true,
		Languages: []string{"Go", "Node"},
		Skip: map[string]string{
			"names are checked": "TestNamesAndMountsAreChecked has it without machines",
			"what cannot be launched is an exit that says why":     "it is the guest's, as in gVisor; the nested lane has it",
			"a kill with patience lets the runtime handle SIGTERM": "it is the guest's, as in gVisor; the nested lane has it",
			"a sink that fails fails the checkpoint":               "TestACheckpointThatFails has it without machines",
			"damaged snapshots give an error and leave nothing":    "TestADamagedSnapshot has it without machines",
			"many restores at once":                                "it is as many as draw random bytes",
			"a source may be removed while it is restored":         "it takes a boot more; the nested lane has it",
		},
	}
}

func TestSuite(t *testing.T) { emulated().Run(t, openQEMU) }

func TestSnapshots(t *testing.T) { emulated().RunSnapshots(t, openQEMU) }
