package gvisor

import (
	"log/slog"
	"path/filepath"
	"testing"

	"thaw/sandbox"
	"thaw/sandbox/sandboxtest"
)

func TestSnapshots(t *testing.T) {
	if !alone(t) {
		return
	}
	exe, _ := build(t)
	sandboxtest.RunSnapshots(t, func(t testing.TB) sandbox.Backend {
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

func BenchmarkRestore(b *testing.B) {
	needRoot(b)
	exe, _ := build(b)
	var be *Backend
	sandboxtest.BenchmarkRestores(b, func(t testing.TB) sandbox.Backend {
		var err error
		if be, err = Open(testContext(t), Options{
			Dir: filepath.Join(t.TempDir(), "gvisor"), SandboxExe: exe, GuestExe: sandboxtest.GuestExe(t), Blank: 1,
		}); err != nil {
			t.Fatal(err)
		}
		return be
	}, func() { awaitArmed(b, be); awaitBlanks(b, be) })
}
