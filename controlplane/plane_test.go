package controlplane_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/blob"
	"thaw/codepackage"
	"thaw/controlplane"
	"thaw/function"
	"thaw/jetstream"
	"thaw/layer"
	"thaw/pool"
	"thaw/runtimes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var orders = function.Key{Account: "000000000000", Region: "eu-west-1", Name: "orders"}

// environments stand for the pool: they remember what they were told.
type environments struct {
	mu     sync.Mutex
	wanted map[function.ARN]int
}

func (*environments) Invoke(context.Context, *pool.Request) (*function.Outcome, error) {
	return &function.Outcome{}, nil
}
func (*environments) Retire(function.ARN, function.VersionNumber, uint64) {}
func (p *environments) Provision(v *function.Version, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted[v.ARN()] = n
}
func (p *environments) Provisioned(v *function.Version) pool.Allocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pool.Allocation{Requested: p.wanted[v.ARN()], Allocated: p.wanted[v.ARN()]}
}

// nodeOnly is a host with one runtime.
type nodeOnly struct{}

func (nodeOnly) Check(identifier, _ string) error {
	if identifier != "nodejs22.x" {
		return &runtimes.UnknownError{Identifier: identifier}
	}
	return nil
}
func (n nodeOnly) Provide(_ context.Context, identifier, a string) error {
	return n.Check(identifier, a)
}
func (nodeOnly) Recoverable(string, string) bool { return false }
func (nodeOnly) Fetching(string) string          { return "" }

// scene is a control plane with real stores.
type scene struct {
	*controlplane.Plane
	t    *testing.T
	pool *environments
}

func open(t *testing.T) *scene {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	records, err := jetstream.Open(t.Context(), jetstream.Options{Dir: filepath.Join(dir, "records"), Log: log})
	check(t, err)
	blobs, err := blob.Open(filepath.Join(dir, "blobs"))
	check(t, err)
	codes, err := codepackage.Open(codepackage.Options{Dir: filepath.Join(dir, "code"), Source: blobs, Log: log})
	check(t, err)
	stored, err := records.LayerRecords(t.Context())
	check(t, err)
	layers, err := layer.Open(t.Context(), stored)
	check(t, err)
	p := &environments{wanted: map[function.ARN]int{}}
	plane, err := controlplane.Open(t.Context(), controlplane.Options{Store: records, Blobs: blobs, Codes: codes, Layers: layers, Pool: p, Runtimes: nodeOnly{}, Log: log,
		Settle: time.Millisecond})
	check(t, err)
	t.Cleanup(func() {
		plane.Close()
		blobs.Close()
		records.Close()
	})
	return &scene{plane, t, p}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(s string) *string { return &s }

func zipOf(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("index.js")
	check(t, err)
	_, err = w.Write([]byte(content))
	check(t, err)
	check(t, z.Close())
	return b.Bytes()
}

func (s *scene) new(edit ...func(*controlplane.New)) controlplane.New {
	n := controlplane.New{Key: orders, Partition: "aws",
		Settings: controlplane.Settings{Runtime: text("nodejs22.x"), Handler: text("index.handler"), Role: text("r")},
		Code:     func(ctx context.Context) (*controlplane.Code, error) { return s.TakeCode(ctx, zipOf(s.t, "1")) }}
	for _, f := range edit {
		f(&n)
	}
	return n
}

// live creates orders and waits until it serves.
func (s *scene) live(edit ...func(*controlplane.New)) *function.Entry {
	s.t.Helper()
	_, err := s.Create(s.t.Context(), s.new(edit...))
	check(s.t, err)
	return s.settled()
}

// settled waits until nothing of orders is being prepared.
func (s *scene) settled() *function.Entry {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		e := s.View().Get(orders)
		busy := e.Record.Latest.Life.Settling() || slices.ContainsFunc(e.Versions(), func(v *function.VersionRecord) bool { return v.Life.Settling() })
		if !busy {
			return e
		}
		select {
		case <-e.Replaced():
		case <-ctx.Done():
			s.t.Fatalf("orders does not settle: %+v", e.Record)
		}
	}
}

func refused(t *testing.T, err error, why controlplane.Reason, message string) {
	t.Helper()
	var r *controlplane.Refusal
	if !errors.As(err, &r) || r.Reason != why || r.Message != message {
		t.Errorf("refused with %v, want %q of kind %d", err, message, why)
	}
}

// C-022, C-023, C-027, C-036, C-048, C-053, C-054: from creation to deletion, without HTTP.
func TestLifeOfAFunction(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx := t.Context()
	e := s.live()
	if e.Record.Latest.Life != function.Live || e.Serving(function.Latest) == nil {
		t.Fatalf("created: %+v", e.Record.Latest)
	}
	_, err := s.Create(ctx, s.new())
	refused(t, err, controlplane.Conflict, "Function already exist: orders")

	before := e.Record.Latest.RevisionID
	_, shown, err := s.UpdateSettings(ctx, orders, controlplane.Update{RevisionID: before}, &controlplane.Settings{Description: text("d")})
	check(t, err)
	if shown.Life != function.Updating || shown.Config.Description != "d" || shown.Config.Handler != "index.handler" {
		t.Errorf("update: %+v", shown)
	}
	s.settled()
	_, _, err = s.UpdateSettings(ctx, orders, controlplane.Update{RevisionID: before}, &controlplane.Settings{Description: text("e")})
	refused(t, err, controlplane.Stale, controlplane.ErrStaleRevision.Message)

	_, first, err := s.Publish(ctx, orders, controlplane.Publication{})
	check(t, err)
	_, again, err := s.Publish(ctx, orders, controlplane.Publication{Description: text("other")})
	check(t, err)
	if first.Number != "1" || again.RevisionID != first.RevisionID {
		t.Errorf("published %+v, then %+v", first, again)
	}
	check(t, s.DeleteVersion(ctx, orders, 1))
	check(t, s.DeleteVersion(ctx, orders, 1))
	check(t, s.Delete(ctx, orders))
	if err := s.Delete(ctx, orders); !errors.Is(err, function.ErrNotFound) || s.View().Get(orders) != nil {
		t.Errorf("second deletion: %v", err)
	}
}

// Many writers of one function: each change is seen whole, in one order, and of those who name the same revision one wins.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.live()
	const writers, each = 16, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := s.Change(t.Context(), orders, func(_ *function.Entry, r *function.Record) error {
					r.NextNumber++
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	e := s.View().Get(orders)
	if n := e.Record.NextNumber; n != 1+writers*each {
		t.Errorf("%d changes counted, want %d", n-1, writers*each)
	}
	revision, won := e.Record.Latest.RevisionID, make(chan error, writers)
	for range writers {
		wg.Go(func() {
			_, _, err := s.UpdateSettings(t.Context(), orders, controlplane.Update{RevisionID: revision}, &controlplane.Settings{Description: text("x")})
			won <- err
		})
	}
	wg.Wait()
	close(won)
	winners := 0
	for err := range won {
		if err == nil {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d writers won with one revision", winners)
	}
}
