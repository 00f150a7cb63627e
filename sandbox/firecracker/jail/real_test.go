package jail_test

import (
	"errors"
	"strings"
	"testing"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/install/installtest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/vmm"
)

// real is the monitor with the programs of a release.
func real(t testing.TB) *jail.Monitor {
	t.Helper()
	m, err := jail.New(t.Context(), jail.Options{Firecracker: installtest.Programs(t).Firecracker, Jailer: jailer(t)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The release's own programs, as far as they go without KVM: up to the start of a machine. That fails, be it for want of
// KVM or of a kernel, and the reason is the release's.
func TestTheRealOneUpToTheStart(t *testing.T) {
	t.Parallel()
	m := real(t)
	c := groups(t)
	s := slot(t, c, "real")
	x := open(t, m, s)
	pid := x.PIDs()[0]
	if got := status(t, pid, "Uid"); got != "61234 61234 61234 61234" || status(t, pid, "CapEff") != "0000000000000000" {
		t.Errorf("it runs as %s", got)
	}
	dir := t.TempDir()
	for _, dir := range []string{dir, otherFileSystem(t, dir)} {
		x := open(t, m, slot(t, c, strings.Trim(strings.ReplaceAll(dir[len(dir)-8:], "/", "-"), "-")))
		err := x.Boot(t.Context(), config(t, dir))
		var fault *fcapi.FaultError
		if !errors.As(err, &fault) || fault.Call != "PUT /actions" {
			t.Errorf("what is no kernel boots: %v", err)
		}
		t.Log(err)
	}
	// A load that fails ends the process; its words are the reason.
	err := x.Restore(t.Context(), vmm.Config{}, vmm.Saved{State: file(t, dir, "empty"), Memory: file(t, dir, "memory")})
	if err == nil || !strings.Contains(err.Error(), "smaller than CRC") {
		t.Errorf("a restore from nothing: %v", err)
	}
	<-x.Exited()
	if x.Err() == nil {
		t.Error("it has ended without a reason")
	}
}
