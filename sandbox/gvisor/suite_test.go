package gvisor

import (
	"log/slog"
	"path/filepath"
	"testing"

	"thaw/sandbox"
	"thaw/sandbox/sandboxtest"
)

func TestSuite(t *testing.T) {
	if !alone(t) {
		return
	}
	exe, _ := build(t)
	sandboxtest.Run(t, func(t testing.TB) sandbox.Backend {
		b, err := Open(testContext(t), Options{
			Dir: filepath.Join(t.TempDir(), "gvisor"), SandboxExe: exe, GuestExe: sandboxtest.GuestExe(t), Blank: 1,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
