package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/install"
	"thaw/sandbox/firecracker/vmm"
)

// microVMConfig is that of a server with emulated microVMs. The kernel and the images of the host's libraries are kept in
// the user's cache, one run of tests after the other.
func microVMConfig(t *testing.T, dir string) Config {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	c := testConfig("qemu", dir)
	c.microVMs, c.images = filepath.Join(cache, "thaw", "microvm"), filepath.Join(cache, "thaw", "images-of-node")
	if os.Geteuid() != 0 {
		t.Skip("microVMs need root")
	}
	if _, err := install.FindKernel(c.microVMs, "", ""); err != nil {
		if err := install.DebianKernel(t.Context(), c.microVMs, func(string) {}); err != nil {
			t.Skipf("no kernel for guests: %v", err)
		}
	}
	if err := c.CanQEMU(); err != nil {
		var missing *vmm.MissingError
		if errors.As(err, &missing) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return c
}

// A Node function in a machine of its own, as users have it: published with a snapshot, restored, frozen and thawed, and
// nothing is left. One boot, one snapshot: everything else about machines is tested beside their backend.
func TestMicroVM(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := microVMConfig(t, dir)
	c.BlankSandboxes, c.Spares = 0, 0
	s := openConfigured(t, "qemu", c)
	closed := false
	stop := func() {
		if !closed {
			closed = true
			if err := s.node.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
	defer stop()
	if h := s.node.Health(); h.Sandbox != "qemu" || !h.Isolates || !h.Saves {
		t.Errorf("health %+v", h)
	}
	f := s.js(`let n = 0; const born = require('crypto').randomUUID();
		exports.handler = async () => ({ n: ++n, born, type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, kernel: require('os').release() })`, snapStart, timeout(60))
	if v := f.publish(); v.State != types.StateActive {
		t.Fatalf("version %s: %s", v.State, *v.StateReason)
	}
	first, again := f.invokeVersion("1", `{}`).ok(t), f.invokeVersion("1", `{}`).ok(t)
	host, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	if !strings.HasPrefix(first, `{"n":1,`) || !strings.Contains(first, `"snap-start"`) || strings.Contains(first, strings.TrimSpace(string(host))) {
		t.Errorf("first: %s", first)
	}
	if again != strings.Replace(first, `"n":1`, `"n":2`, 1) {
		t.Errorf("again: %s, after %s", again, first)
	}
	envs := s.node.pool.Environments()
	if len(envs) != 1 || envs[0].Sandbox != "qemu" || len(envs[0].PIDs) == 0 {
		t.Fatalf("environments %+v", envs)
	}
	backend := filepath.Join(dir, "sandboxes-qemu")
	if len(groupsOf(backend)) == 0 {
		t.Error("no cgroups are seen while the server runs")
	}
	stop()
	for _, pid := range envs[0].PIDs {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	if groups, left := groupsOf(backend), leftovers(t, dir); len(groups)+len(left) > 0 {
		t.Errorf("left: %q, %q", groups, left)
	}
	if left, _ := filepath.Glob(filepath.Join(backend, "*", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// Without microVMs, auto takes the next best, and says why.
func TestAutoSaysWhyNot(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	said, err := os.Create(filepath.Join(t.TempDir(), "log")) // several write at once
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	n, err := Open(t.Context(), testConfig("auto", t.TempDir()), slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	if n.Health().Sandbox != "gvisor" {
		t.Errorf("auto takes %s", n.Health().Sandbox)
	}
	text, err := os.ReadFile(said.Name())
	if log := string(text); err != nil || !strings.Contains(log, "no microVMs") || !strings.Contains(log, "KVM") && !strings.Contains(log, "not installed") {
		t.Errorf("the log says\n%s", log)
	}
}
