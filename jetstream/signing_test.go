package jetstream

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"thaw/signing"
)

// Code signing configurations come back after a restart, and a stale writer is refused.
func TestSigningConfigs(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	open := func() (*Store, *SigningConfigs) {
		s, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.SigningConfigs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s, c
	}
	s, configs := open()
	one := &signing.Config{ARN: "arn:aws:lambda:eu-west-1:000000000000:code-signing-config:" + signing.NewID(), Publishers: []string{"p"}, Policy: "Warn"}
	if err := configs.Put(ctx, one); err != nil {
		t.Fatal(err)
	}
	stale := *one
	one.Policy = "Enforce"
	if err := configs.Put(ctx, one); err != nil {
		t.Fatal(err)
	}
	if err := configs.Put(ctx, &stale); !errors.Is(err, signing.ErrStale) {
		t.Errorf("a stale write: %v", err)
	}
	s.Close()
	s, configs = open()
	defer s.Close()
	list, err := configs.List(ctx)
	if err != nil || len(list) != 1 || list[0].Policy != "Enforce" || list[0].ARN != one.ARN || list[0].Revision != one.Revision {
		t.Fatalf("after a restart: %+v, %v", list, err)
	}
	if err := configs.Delete(ctx, list[0]); err != nil {
		t.Fatal(err)
	}
	if list, err := configs.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("after the deletion: %+v, %v", list, err)
	}
}
