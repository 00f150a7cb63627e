package filelock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Wait(t.Context(), path, func() { t.Error("nobody has it") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, give := context.WithCancelCause(t.Context())
	tired := errors.New("tired of waiting")
	if _, err := Wait(ctx, path, func() { give(tired) }); !errors.Is(err, tired) {
		t.Errorf("while another has it: %v", err)
	}
	told := 0
	second, err := Wait(t.Context(), path, func() {
		told++
		first.Close()
	})
	if err != nil || told != 1 {
		t.Fatalf("when the other has let go: %v, told %d times", err, told)
	}
	second.Close()
	if _, err := Wait(t.Context(), filepath.Join(path, "below"), nil); err == nil {
		t.Error("a lock where no file can be")
	}
}
