package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A filter of another release is not used, only slow: without this test nobody would notice.
func TestCompiledFiltersAreOfThisRelease(t *testing.T) {
	if len(seccompPrograms) == 0 {
		t.Skip("none are compiled for this architecture")
	}
	exe := filepath.Join(t.TempDir(), "thaw-sandbox")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "thaw/cmd/thaw-sandbox")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(exe, "filters").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), `Platform="systrap"`) || !strings.Contains(string(out), "HostFilesystem=false") {
		t.Errorf("filters in use: %q. After a new release of gVisor run: go generate ./cmd/thaw-sandbox/internal/agent", out)
	}
}
