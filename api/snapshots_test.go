package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/controlplane"
	"thaw/function"
	"thaw/jetstream"
)

// slowSnapshots make one that takes until it is forgotten, and note what they were asked.
type slowSnapshots struct {
	mu          sync.Mutex
	incarnation func(function.ARN, function.VersionNumber) uint64
	calls       []string
	making      map[string]chan struct{} // by incarnation and number
	begun       chan *function.Version
}

func (s *slowSnapshots) note(format string, args ...any) {
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

func (s *slowSnapshots) Begin(incarnation func(function.ARN, function.VersionNumber) uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incarnation = incarnation
	s.note("begin")
}

func (s *slowSnapshots) Sweep(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("sweep")
	return nil
}

func (s *slowSnapshots) Make(ctx context.Context, v *function.Version, _ map[string]string) (reason, code string, err error) {
	s.mu.Lock()
	s.note("make %s", v.Number)
	key := fmt.Sprint(v.Incarnation, v.Number)
	forgotten := make(chan struct{})
	s.making[key] = forgotten
	there := s.incarnation(v.UnqualifiedARN(), v.Number) == v.Incarnation
	s.mu.Unlock()
	if !there {
		return "", "", function.ErrNotFound
	}
	s.begun <- v
	select {
	case <-forgotten:
		return "", "", fmt.Errorf("made: %w", function.ErrNotFound)
	case <-ctx.Done():
		return "", "", context.Cause(ctx)
	}
}

func (s *slowSnapshots) Optimized(*function.Version) bool               { return false }
func (s *slowSnapshots) Retag(arn function.ARN, tags map[string]string) {}
func (s *slowSnapshots) Forget(_ context.Context, arn function.ARN, incarnation uint64, number function.VersionNumber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range []function.VersionNumber{"1", "2"} {
		if number != "" && number != n {
			continue
		}
		if s.incarnation(arn, n) == incarnation {
			s.note("forgotten too early: %s", n)
		}
		if c := s.making[fmt.Sprint(incarnation, n)]; c != nil {
			close(c)
			delete(s.making, fmt.Sprint(incarnation, n))
		}
	}
	s.note("forget %q", number)
}

func snapStarted(in *lambda.CreateFunctionInput) {
	in.Publish, in.SnapStart = true, &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
}

// Snapshots know what there is before anything is made, are swept when the records are complete, and are told of a
// deletion when the version cannot be found any more. A making that ends because of it is no error, and versions that
// are there are settled as ever.
func TestSnapshotsFollowTheirFunctions(t *testing.T) {
	var log bytes.Buffer
	var logMu sync.Mutex
	s := &slowSnapshots{making: map[string]chan struct{}{}, begun: make(chan *function.Version, 8)}
	w := newWorld(t, func(o *options) {
		o.Snapshots, o.Settle = s, 5*time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(lockedWriter{&logMu, &log}, nil))
	})
	ctx := t.Context()
	next := func() *function.Version {
		t.Helper()
		select {
		case v := <-s.begun:
			return v
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is made")
			return nil
		}
	}
	remove := func(name, qualifier string) {
		t.Helper()
		in := &lambda.DeleteFunctionInput{FunctionName: &name}
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		if _, err := w.client.DeleteFunction(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	w.create("orders", snapStarted)
	first := next()
	if first.Incarnation == 0 || s.incarnation(first.UnqualifiedARN(), "1") != first.Incarnation || s.incarnation(first.UnqualifiedARN(), "$LATEST") != first.Incarnation ||
		s.incarnation(first.UnqualifiedARN(), "2") != 0 || s.incarnation(first.UnqualifiedARN()+"x", "1") != 0 || s.incarnation("nonsense", "1") != 0 {
		t.Errorf("version 1 of incarnation %d is not known as that", first.Incarnation)
	}
	remove("orders", "")
	w.create("orders", snapStarted)
	second := next()
	if second.Incarnation <= first.Incarnation {
		t.Errorf("incarnation %d after %d", second.Incarnation, first.Incarnation)
	}
	remove("orders", "1")
	until := time.Now().Add(20 * time.Second)
	for {
		c, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		if c.State == types.StateActive {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("$LATEST is %s after its version was deleted in the making", c.State)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: aws.String("1")}); err == nil {
		t.Error("the deleted version is there")
	}
	w.reopen()
	s.mu.Lock()
	want := []string{"begin", "sweep", "make 1", `forget ""`, "make 1", `forget "1"`, "begin", "sweep"}
	if !slices.Equal(s.calls, want) {
		t.Errorf("it was asked %q, want %q", s.calls, want)
	}
	s.mu.Unlock()
	logMu.Lock()
	defer logMu.Unlock()
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("a deletion is an error in the log:\n%s", log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// While a record may be missing, nothing is swept.
func TestNothingIsSweptWhileARecordMayBeMissing(t *testing.T) {
	s := &slowSnapshots{}
	w := newWorld(t)
	w.close()
	records, err := jetstream.Open(t.Context(), jetstream.Options{Dir: filepath.Join(w.dir, "records"), Log: w.Options.Log})
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	o := w.Options
	o.Store, o.Snapshots = incomplete{records}, s
	p, err := controlplane.Open(t.Context(), o.plane)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !slices.Equal(s.calls, []string{"begin"}) {
		t.Errorf("it was asked %q", s.calls)
	}
}

// incomplete is a store in which a record may be missing.
type incomplete struct{ function.Store }

func (incomplete) Complete() error { return errors.New("a record is lost") }
