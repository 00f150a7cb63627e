package process

import (
	"os"
	"testing"

	"thaw/sandbox"
	"thaw/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.RemovePrograms()
	os.Exit(code)
}

func open(t testing.TB) sandbox.Backend {
	t.Helper()
	b, err := Open(Options{Dir: t.TempDir(), GuestExe: sandboxtest.GuestExe(t)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) { sandboxtest.Run(t, open) }
