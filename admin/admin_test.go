package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"thaw/execenv"
	"thaw/logstore"
	"thaw/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, dir string) (*logstore.Store, chan struct{}) {
	t.Helper()
	logs, err := logstore.Open(logstore.Options{Dir: filepath.Join(dir, "logs")})
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{}, 1)
	now := time.Now()
	s, err := Open(Options{
		DataDir: dir, Logs: logs, Log: slog.New(slog.DiscardHandler),
		Environments: func() []execenv.Status {
			return []execenv.Status{{ID: "e1", Function: "hello", Qualifier: "3", State: "Frozen", Since: now, Invokes: 7, MemoryBytes: 1 << 20, PIDs: []int{1, 2},
				Moves:  []execenv.Move{{At: now, From: "Thawed", Event: "GraceOver", To: "Frozen", Took: 1500 * time.Millisecond}},
				Stages: []sandbox.Stage{{Name: "place", Seconds: 0.5}}}}
		},
		Config: func() any { return map[string]string{"listen": "here"} },
		Health: func() Health { return Health{PID: os.Getpid(), Endpoint: "http://127.0.0.1:9600"} },
		Drain:  func() { drained <- struct{}{} },
		Sources: func(context.Context) []Source {
			lag := int64(7)
			return []Source{{ID: "m1", Kind: "kafka", Pollers: 2, InFlight: 1, Lag: &lag, Held: 3, Oldest: now, Last: &SourceBatch{At: now, Records: 3, Done: 2, RequestID: "r"},
				Trouble: &SourceTrouble{At: now, Cause: "function", Text: "it failed"}, Shards: []SourceShard{{ID: "orders-0"}}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		logs.Close()
		if left, _ := filepath.Glob(filepath.Join(dir, "*sock*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return logs, drained
}

func TestEveryCall(t *testing.T) {
	dir := t.TempDir()
	logs, drained := serve(t, dir)
	c, ctx := Dial(dir), t.Context()
	if h, err := c.Health(ctx); err != nil || h.PID != os.Getpid() || h.Endpoint == "" {
		t.Errorf("health %+v, error %v", h, err)
	}
	envs, err := c.Environments(ctx)
	if err != nil || len(envs) != 1 {
		t.Fatalf("environments %+v, error %v", envs, err)
	}
	if e := envs[0]; e.Function != "hello" || e.Invokes != 7 || len(e.PIDs) != 2 || e.Moves[0].Seconds != 1.5 || e.Stages[0].Name != "place" {
		t.Errorf("environment %+v", e)
	}
	var config map[string]string
	if err := c.Config(ctx, &config); err != nil || config["listen"] != "here" {
		t.Errorf("config %v, error %v", config, err)
	}
	sources, err := c.Sources(ctx)
	if err != nil || len(sources) != 1 {
		t.Fatalf("sources %+v, error %v", sources, err)
	}
	if s := sources[0]; s.ID != "m1" || s.Pollers != 2 || s.InFlight != 1 || *s.Lag != 7 || s.Held != 3 || s.Oldest.IsZero() || s.Last.Done != 2 ||
		s.Trouble.Cause != "function" || s.Shards[0].ID != "orders-0" || s.Shards[0].Lag != nil {
		t.Errorf("source %+v", s)
	}
	if err := c.Drain(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-drained: // after the answer, which the server flushes first
	case <-time.After(time.Minute):
		t.Error("drain was not asked for")
	}
	logs.Stream("/g", "a").Append(time.Now(), "one")
	if groups, err := c.Groups(ctx); err != nil || len(groups) > 1 {
		t.Errorf("groups %+v, error %v", groups, err)
	}
	if streams, err := c.Streams(ctx, "/g"); err != nil || len(streams) != 1 || streams[0].Events != 1 {
		t.Errorf("streams %+v, error %v", streams, err)
	}
	if _, err := c.Streams(ctx, "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("streams of nothing: %v", err)
	}
}

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	logs, _ := serve(t, dir)
	st := logs.Stream("/g", "a/1")
	noon := time.UnixMilli(1_800_000_000_000)
	for i, m := range []string{"zero", "one", "two", "three"} {
		st.Append(noon.Add(time.Duration(i)*time.Second), m)
	}
	c := Dial(dir)
	for _, tc := range []struct {
		name string
		q    LogQuery
		want string
		err  string
	}{
		{name: "all", want: "zero one two three"},
		{name: "between two times", q: LogQuery{Query: logstore.Query{Since: noon.Add(time.Second), Until: noon.Add(3 * time.Second)}}, want: "one two"},
		{name: "the last two", q: LogQuery{Query: logstore.Query{Limit: 2, Newest: true}}, want: "two three"},
		{name: "a pattern", q: LogQuery{PatternText: "?one ?three"}, want: "one three"},
		{name: "another stream", q: LogQuery{Query: logstore.Query{StreamPrefix: "b"}}, want: ""},
		{name: "a bad pattern", q: LogQuery{PatternText: `"`}, err: "quote"},
		{name: "following to a limit", q: LogQuery{Query: logstore.Query{Limit: 3}, Follow: true}, want: "zero one two"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.q.Group = "/g"
			var got []string
			for e, err := range c.Logs(t.Context(), tc.q) {
				if err != nil {
					if tc.err == "" || !strings.Contains(err.Error(), tc.err) {
						t.Fatal(err)
					}
					return
				}
				got = append(got, e.Message)
			}
			if tc.err != "" || strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q and error %q", got, tc.want, tc.err)
			}
		})
	}
	t.Run("following brings what comes later, until the caller goes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for e, err := range c.Logs(ctx, LogQuery{Query: logstore.Query{Group: "/g", Limit: 1, Newest: true}, Follow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; e.Message == "four" {
				cancel()
			} else {
				st.Append(noon, "four")
			}
		}
		if n != 2 {
			t.Errorf("%d events, want three and four", n)
		}
	})
	t.Run("no such group", func(t *testing.T) {
		for _, err := range c.Logs(t.Context(), LogQuery{Query: logstore.Query{Group: "/none"}}) {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		}
	})
}

func TestSocket(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		if _, err := Dial(t.TempDir()).Health(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("only its owner may connect", func(t *testing.T) {
		dir := t.TempDir()
		serve(t, dir)
		info, err := os.Stat(filepath.Join(dir, socketName))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, error %v", info.Mode(), err)
		}
	})
	t.Run("a second server is refused and told whose folder it is", func(t *testing.T) {
		dir := t.TempDir()
		serve(t, dir)
		_, err := Open(Options{DataDir: dir, Log: slog.New(slog.DiscardHandler)})
		var running *RunningError
		if !errors.As(err, &running) || running.PID != os.Getpid() {
			t.Errorf("error %v", err)
		}
	})
	t.Run("what a killed server left is replaced", func(t *testing.T) {
		dir := t.TempDir()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		serve(t, dir)
		if _, err := Dial(dir).Health(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a data folder whose name is longer than a socket's may be", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		serve(t, dir)
		if _, err := Dial(dir).Health(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// forked duplicates this process's descriptors of a file, as a child has them before it executes its program.
func forked(t *testing.T, file string) {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, path := range list {
		if target, err := os.Readlink(path); err == nil && target == file {
			n, err := strconv.Atoi(filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			c, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(c) })
			copies++
		}
	}
	if copies == 0 {
		t.Fatalf("nobody has %s open", file)
	}
}

// A claim that is let go can be had at once, also while a child is being started.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	release, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Claim(dir)
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("claimed twice: %v", err)
	}
	forked(t, filepath.Join(dir, "thaw.lock"))
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = Claim(dir); err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
}
