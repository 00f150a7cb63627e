package pool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/execenv"
	"thaw/function"
	"thaw/node/embedded"
	"thaw/pool"
	"thaw/sandbox"
	"thaw/sandbox/process"
)

// The function under test is a real one: a Go program on AWS's client, in the sandbox that needs no rights.
const source = `package main

import ("context"; "os"; "strings"; "time"; "github.com/aws/aws-lambda-go/lambda")

type event struct { ID int; Ms int; Print int; Exit *int }
type answer struct { ID, N, Pid int }

var n int

func main() {
	if os.Getenv("FAIL") != "" { os.Exit(7) }
	if d, err := time.ParseDuration(os.Getenv("INIT")); err == nil { time.Sleep(d) }
	lambda.Start(func(ctx context.Context, e event) (answer, error) {
		n++
		os.Stdout.WriteString(strings.Repeat(strings.Repeat("x", 1023) + "\n", e.Print))
		time.Sleep(time.Duration(e.Ms) * time.Millisecond)
		if e.Exit != nil { os.Exit(*e.Exit) }
		return answer{e.ID, n, os.Getpid()}, nil
	})
}
`

var backend *process.Backend
var codeDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "thaw-pool-")
	if err != nil {
		panic(err)
	}
	code := func() int {
		guest, err := embedded.Guest(filepath.Join(dir, "bin"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		codeDir = filepath.Join(dir, "code")
		if err := build(codeDir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if backend, err = process.Open(process.Options{Dir: filepath.Join(dir, "boxes"), GuestExe: guest}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer backend.Close()
		return m.Run()
	}()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) error {
	src := filepath.Join("testdata", "echo") // within the module, for its dependencies
	if err := errors.Join(os.MkdirAll(src, 0o755), os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(src, "main.go"), []byte(source), 0o644)); err != nil {
		return err
	}
	defer os.RemoveAll(src)
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "bootstrap"), "./"+src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the function: %w\n%s", err, out)
	}
	return nil
}

// starter makes real environments and counts them.
type starter struct {
	opened atomic.Int64
	fail   error
}

func (s *starter) Open(_ context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	s.opened.Add(1)
	return s.open(v, owner, false), nil
}

func (*starter) open(v *function.Version, owner execenv.Owner, provisioned bool) *execenv.Environment {
	return execenv.Open(execenv.NewID(), execenv.Options{Backend: backend, Version: v, Owner: owner, Log: slog.New(slog.DiscardHandler), Sink: discard{}, Provisioned: provisioned,
		Launch: execenv.Launch{Candidates: []string{"/var/task/bootstrap"}, Mounts: []sandbox.Mount{{Source: codeDir, Target: "/var/task"}}}})
}

// restore makes an environment whose restore fails: this sandbox has none.
func (*starter) restore(v *function.Version, owner execenv.Owner) *execenv.Environment {
	return execenv.Open(execenv.NewID(), execenv.Options{Backend: backend, Version: v, Owner: owner, Log: slog.New(slog.DiscardHandler), Sink: discard{},
		Restore: &execenv.Restore{ID: "none"}})
}

type discard struct{}

func (discard) Append(time.Time, string)      {}
func (discard) AppendLines(time.Time, string) {}

// Room never comes.
func (discard) Room() <-chan struct{} { return nil }

func open(t *testing.T, o pool.Options) (*pool.Pool, *starter) {
	t.Helper()
	s := &starter{}
	if o.Starter == nil {
		o.Starter = s
	}
	o.Log = slog.New(refusals{slog.DiscardHandler, t})
	p := pool.Open(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := len(p.Environments()); n > 0 {
			t.Errorf("%d environments are left", n)
		}
	})
	return p, s
}

// refusals fails the test when an event came to a member in a state that has no move for it.
type refusals struct {
	slog.Handler
	t *testing.T
}

func (refusals) Enabled(context.Context, slog.Level) bool { return true }

func (r refusals) Handle(_ context.Context, rec slog.Record) error {
	if strings.HasPrefix(rec.Message, "refused move") {
		rec.Attrs(func(a slog.Attr) bool { r.t.Errorf("%s: %v", rec.Message, a); return true })
	}
	return nil
}

func version(name string, epoch uint64) *function.Version {
	return &function.Version{Partition: "aws", Region: "eu-west-1", Account: "000000000000", Name: name, Number: "$LATEST", Epoch: epoch, Runtime: "provided.al2023",
		Timeout: 20 * time.Second, MemoryMiB: 128, EphemeralMiB: 512}
}

func request(v *function.Version, event string) *pool.Request {
	return &pool.Request{Version: v, Limits: pool.Limits{Reserved: -1, Unreserved: 1000},
		Invocation: function.Invocation{RequestID: string(execenv.NewID()), InvokedARN: v.UnqualifiedARN(), Event: []byte(event)}}
}

func invoke(t *testing.T, p *pool.Pool, v *function.Version, event string) string {
	t.Helper()
	res, err := p.Invoke(context.Background(), request(v, event))
	if err != nil {
		t.Fatalf("invoke %s: %v", event, err)
	}
	if res.FunctionError != "" {
		t.Fatalf("invoke %s: %s", event, res.Payload)
	}
	return string(res.Payload)
}

func TestAnIdleEnvironmentIsUsedAgain(t *testing.T) {
	p, s := open(t, pool.Options{})
	v := version("again", 1)
	first, second := invoke(t, p, v, `{"ID":1}`), invoke(t, p, v, `{"ID":2}`)
	if !strings.Contains(first, `"N":1`) || !strings.Contains(second, `"N":2`) || s.opened.Load() != 1 {
		t.Errorf("%s %s from %d environments", first, second, s.opened.Load())
	}
}

// The log of these tests never has room: what does not fit into a pipe holds up its function, until that function's
// timeout, and nobody else.
func TestALogWithoutRoomHoldsUpNobodyElse(t *testing.T) {
	p, _ := open(t, pool.Options{})
	v, other := version("prints", 1), version("prints not", 1)
	v.Timeout = 2 * time.Second
	invoke(t, p, v, `{"ID":1,"Print":100}`)
	slow := make(chan *function.Outcome)
	go func() {
		res, err := p.Invoke(context.Background(), request(v, `{"ID":2,"Print":5000}`))
		if err != nil {
			t.Error(err)
		}
		slow <- res
	}()
	for range 20 {
		invoke(t, p, other, `{"ID":3}`)
	}
	if res := <-slow; res == nil || res.FunctionError == "" || !strings.Contains(string(res.Payload), "Sandbox.Timedout") {
		t.Errorf("a function that the log holds up ended with %+v", res)
	}
	invoke(t, p, v, `{"ID":4}`)
}

func TestAsManyEnvironmentsAsConcurrentInvokes(t *testing.T) {
	p, s := open(t, pool.Options{})
	v := version("many", 1)
	const n = 6
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if got := invoke(t, p, v, fmt.Sprintf(`{"ID":%d,"Ms":1500}`, i)); !strings.Contains(got, fmt.Sprintf(`"ID":%d,`, i)) {
				t.Errorf("caller %d got %s", i, got)
			}
		})
	}
	wg.Wait()
	if got := s.opened.Load(); got != n {
		t.Errorf("%d environments for %d invokes at once", got, n)
	}
}

func TestOneHundredCallersAtOnceNeedNoHundredStarts(t *testing.T) {
	p, s := open(t, pool.Options{Cores: busyCores{}, ColdStarts: 2})
	v := version("burst", 1)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { invoke(t, p, v, fmt.Sprintf(`{"ID":%d,"Ms":1}`, i)) })
	}
	wg.Wait()
	if got := s.opened.Load(); got > 60 {
		t.Errorf("%d environments were started for 100 short invokes", got)
	}
}

type busyCores struct{}

func (busyCores) Idle() float64 { return 0 }

type idleCores struct{}

func (idleCores) Idle() float64 { return 1 }

func TestInitsThatHoldNoCoreAreAdmittedTogether(t *testing.T) {
	p, _ := open(t, pool.Options{Cores: idleCores{}, ColdStarts: 1})
	v := version("sleepers", 1)
	v.Vars = map[string]string{"INIT": "2s"}
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { invoke(t, p, v, fmt.Sprintf(`{"ID":%d,"Ms":2000}`, i)) })
	}
	wg.Wait()
	if took := time.Since(began); took > 14*time.Second { // one after another they would take 16 s before the last invoke
		t.Errorf("eight inits of 2 s that only wait took %v", took)
	}
}

func TestLimitsRefuseWithTheirReason(t *testing.T) {
	p, _ := open(t, pool.Options{})
	v := version("limited", 1)
	for name, c := range map[string]struct {
		limits pool.Limits
		reason pool.Reason
	}{
		"reserved 0":         {pool.Limits{Reserved: 0, Unreserved: 1000}, pool.ReservedConcurrency},
		"no unreserved left": {pool.Limits{Reserved: -1, Unreserved: 0}, pool.AccountConcurrency},
	} {
		r := request(v, `{}`)
		r.Limits = c.limits
		_, err := p.Invoke(context.Background(), r)
		var throttled *pool.ThrottledError
		if !errors.As(err, &throttled) || throttled.Reason != c.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := p.Counts(); c.InFlight != 0 || c.Throttled != 2 {
		t.Errorf("counts after two refusals: %+v", c)
	}
}

func TestASupersededVersionRunsNoMore(t *testing.T) {
	p, s := open(t, pool.Options{})
	old, next := version("changed", 1), version("changed", 2)
	invoke(t, p, old, `{}`)
	p.Retire(old.UnqualifiedARN(), "$LATEST", 2)
	if _, err := p.Invoke(context.Background(), request(old, `{}`)); !errors.Is(err, pool.ErrSuperseded) {
		t.Errorf("the old version: %v", err)
	}
	if got := invoke(t, p, next, `{}`); !strings.Contains(got, `"N":1`) || s.opened.Load() != 2 {
		t.Errorf("the new version answered %s from %d environments", got, s.opened.Load())
	}
}

// An invocation that was resolved before its function was deleted, and comes after: nothing of the function is started
// any more. One of the same name that was created since is another.
func TestADeletedFunctionRunsNoMore(t *testing.T) {
	p, s := open(t, pool.Options{})
	v := version("deleted", 1)
	invoke(t, p, v, `{}`)
	p.Retire(v.UnqualifiedARN(), "", 5)
	for _, number := range []function.VersionNumber{"$LATEST", "1", "2"} {
		late := version("deleted", 4)
		late.Number = number
		if _, err := p.Invoke(context.Background(), request(late, `{}`)); !errors.Is(err, pool.ErrSuperseded) {
			t.Errorf("version %s of the deleted function: %v", number, err)
		}
		p.Provision(late, 1)
		if got := p.Provisioned(late); got.Requested != 0 {
			t.Errorf("version %s of the deleted function is provisioned: %+v", number, got)
		}
	}
	until(t, "its environment is gone", func() bool { return p.Counts().Environments == 0 })
	invoke(t, p, version("deleted", 5), `{}`)
	if s.opened.Load() != 2 {
		t.Errorf("%d environments were started", s.opened.Load())
	}
}

func TestThoseWhoWaitForASupersededVersionResolveAgain(t *testing.T) {
	p, _ := open(t, pool.Options{})
	v := version("waiting", 1)
	v.Vars = map[string]string{"INIT": "3s"}
	got := make(chan error, 1)
	go func() {
		_, err := p.Invoke(context.Background(), request(v, `{}`))
		got <- err
	}()
	until(t, "an invocation waits", func() bool { return p.Counts().Waiting == 1 })
	p.Retire(v.UnqualifiedARN(), "", 2)
	if err := <-got; !errors.Is(err, pool.ErrSuperseded) {
		t.Errorf("the waiting invocation: %v", err)
	}
}

func TestIdleEnvironmentsExpire(t *testing.T) {
	p, _ := open(t, pool.Options{IdleExpiry: 100 * time.Millisecond})
	invoke(t, p, version("idle", 1), `{}`)
	until(t, "no environment is left", func() bool { return p.Counts().Environments == 0 })
}

func TestMemoryIsReclaimedFromTheIdle(t *testing.T) {
	var p *pool.Pool
	used := func() int64 { return int64(p.Counts().Environments) * (128 << 20) }
	p, s := open(t, pool.Options{Memory: pool.FixedMemory{Bytes: 200 << 20, Used: func() int64 { return used() }}})
	a, b := version("first", 1), version("second", 1)
	invoke(t, p, a, `{}`)
	invoke(t, p, b, `{}`)
	if s.opened.Load() != 2 || p.Counts().Environments != 1 {
		t.Errorf("%d environments were opened and %d are there", s.opened.Load(), p.Counts().Environments)
	}
}

// takenIn is what the environments of a pool have, but those that it counts itself.
func takenIn(p *pool.Pool) (sum int64) {
	for _, e := range p.Environments() {
		if e.State != "Creating" && e.State != "Initializing" {
			sum += 128 << 20
		}
	}
	return sum
}

// Starts that look for room at the same time find each other, and one that takes its memory meanwhile.
func TestStartsAtOnceDoNotTakeTheSameMemory(t *testing.T) {
	var p *pool.Pool
	const fit = 5
	s := &starter{}
	p, _ = open(t, pool.Options{Starter: s, ColdStarts: 20, Memory: pool.FixedMemory{Bytes: fit * 128 << 20, Used: func() int64 {
		sum := takenIn(p)
		time.Sleep(60 * time.Millisecond) // others settle meanwhile
		return sum
	}}})
	var answered, refused atomic.Int32
	var wg sync.WaitGroup
	for i := range 4 * fit {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			_, err := p.Invoke(context.Background(), request(version(fmt.Sprint("taker-", i), 1), `{"Ms":3000}`))
			if throttled := (*pool.ThrottledError)(nil); errors.As(err, &throttled) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			} else {
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	if s.opened.Load() != fit || answered.Load() != fit || refused.Load() != 3*fit {
		t.Errorf("%d environments were made where %d fit; %d answers, %d refusals", s.opened.Load(), fit, answered.Load(), refused.Load())
	}
}

func TestNoMemoryIsAThrottle(t *testing.T) {
	p, _ := open(t, pool.Options{Memory: pool.FixedMemory{Bytes: 64 << 20, Used: func() int64 { return 0 }}})
	_, err := p.Invoke(context.Background(), request(version("big", 1), `{}`))
	var throttled *pool.ThrottledError
	if !errors.As(err, &throttled) {
		t.Errorf("got %v", err)
	}
	if c := p.Counts(); c.InFlight != 0 || c.Waiting != 0 {
		t.Errorf("counts: %+v", c)
	}
}

func TestAnEnvironmentThatCannotBeMadeAnswersItsCaller(t *testing.T) {
	p, _ := open(t, pool.Options{Starter: &starter{fail: errors.New("no interpreter")}})
	_, err := p.Invoke(context.Background(), request(version("broken", 1), `{}`))
	var u *pool.UnavailableError
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "no interpreter") {
		t.Errorf("got %v", err)
	}
}

func TestACallerWhoLeavesIsForgottenInTheQueueAndOutlivedAtWork(t *testing.T) {
	p, _ := open(t, pool.Options{})
	v := version("leaving", 1)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error, 1)
	go func() {
		_, err := p.Invoke(ctx, request(v, `{"Ms":1000}`))
		got <- err
	}()
	until(t, "an invocation is at work", func() bool {
		for _, e := range p.Environments() {
			if e.State == "Invoking" {
				return true
			}
		}
		return false
	})
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	if p.Counts().InFlight != 1 {
		t.Error("the invocation does not count any more although it runs")
	}
	if got := invoke(t, p, v, `{}`); !strings.Contains(got, `"N":`) {
		t.Error(got)
	}
	until(t, "it has finished", func() bool { return p.Counts().InFlight == 0 })
}

func TestCloseLetsRunningInvocationsFinish(t *testing.T) {
	p := pool.Open(pool.Options{Starter: &starter{}, Log: slog.New(slog.DiscardHandler)})
	v := version("drained", 1)
	done := make(chan error, 1)
	go func() {
		_, err := p.Invoke(context.Background(), request(v, `{"Ms":1000}`))
		done <- err
	}()
	until(t, "an invocation is at work", func() bool {
		for _, e := range p.Environments() {
			if e.State == "Invoking" {
				return true
			}
		}
		return false
	})
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the running invocation: %v", err)
	}
	if _, err := p.Invoke(context.Background(), request(v, `{}`)); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came that %s", what)
		}
	}
}
