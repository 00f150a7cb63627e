package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"thaw/snapshot"
)

// oneVersion is a server with one snapshot, of hello:1.
type oneVersion struct {
	asked  []string
	policy *snapshot.Policy
}

func (o *oneVersion) List() []Snapshot { return []Snapshot{{Function: "hello", Version: "1"}} }

func (o *oneVersion) one(what, version string) (Snapshot, error) {
	o.asked = append(o.asked, what+" "+version)
	switch version {
	case "hello:1":
		return o.List()[0], nil
	case "busy:1":
		return Snapshot{}, &RefusedError{"not now"}
	}
	return Snapshot{}, fmt.Errorf("%s: %w", version, fs.ErrNotExist)
}

func (o *oneVersion) Refresh(_ context.Context, v string) (Snapshot, error) {
	return o.one("refresh", v)
}
func (o *oneVersion) Remove(_ context.Context, v string) (Snapshot, error) { return o.one("remove", v) }
func (o *oneVersion) SetPolicy(_ context.Context, v string, p *snapshot.Policy) (Snapshot, error) {
	o.policy = p
	if p != nil {
		if err := p.Validate(); err != nil {
			return Snapshot{}, err
		}
	}
	return o.one("policy", v)
}
func (o *oneVersion) Doctor(_ context.Context, v string, event []byte) (Diagnosis, error) {
	s, err := o.one("doctor "+string(event), v)
	return Diagnosis{Snapshot: s}, err
}

func TestSnapshots(t *testing.T) {
	dir, all := t.TempDir(), &oneVersion{}
	s, err := Open(Options{DataDir: dir, Log: slog.New(slog.DiscardHandler), Snapshots: all})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, ctx := Dial(dir), t.Context()
	if list, err := c.Snapshots(ctx); err != nil || len(list) != 1 || list[0].Function != "hello" {
		t.Errorf("list %+v, %v", list, err)
	}
	if s, err := c.RefreshSnapshot(ctx, "hello:1"); err != nil || s.Version != "1" {
		t.Errorf("refresh %+v, %v", s, err)
	}
	if _, err := c.RemoveSnapshot(ctx, "nobody:1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove nobody: %v", err)
	}
	if _, err := c.RefreshSnapshot(ctx, "busy:1"); err == nil || !strings.Contains(err.Error(), "not now") || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("refresh busy: %v", err)
	}
	if _, err := c.SetSnapshotPolicy(ctx, "hello:1", &snapshot.Policy{Interval: time.Minute}); err != nil || all.policy.Interval != time.Minute {
		t.Errorf("policy %+v, %v", all.policy, err)
	}
	if _, err := c.SetSnapshotPolicy(ctx, "hello:1", &snapshot.Policy{Interval: time.Second}); err == nil || !strings.Contains(err.Error(), "interval") {
		t.Errorf("an interval that is too short: %v", err)
	}
	if _, err := c.SetSnapshotPolicy(ctx, "hello:1", nil); err != nil || all.policy != nil {
		t.Errorf("no policy: %+v, %v", all.policy, err)
	}
	if _, err := c.SnapshotDoctor(ctx, "hello:1", []byte(`{"a":1}`)); err != nil {
		t.Errorf("doctor: %v", err)
	}
	if _, err := c.SnapshotDoctor(ctx, "hello:1", []byte(`{`)); err == nil {
		t.Error("the doctor took an event that is not JSON")
	}
	want := `refresh hello:1, remove nobody:1, refresh busy:1, policy hello:1, policy hello:1, doctor {"a":1} hello:1`
	if got := strings.Join(all.asked, ", "); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
}

func TestNoSnapshots(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	if _, err := Dial(dir).Snapshots(t.Context()); err == nil || !strings.Contains(err.Error(), "gvisor") {
		t.Errorf("a sandbox without snapshots: %v", err)
	}
}
