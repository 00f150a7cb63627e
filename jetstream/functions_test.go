package jetstream

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"thaw/function"
	"thaw/function/functiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFunctionStoreConforms(t *testing.T) {
	functiontest.Run(t, func(t testing.TB, dir string) (function.Store, func()) {
		s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s, s.Close
	})
}
