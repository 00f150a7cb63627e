package sandboxtest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

func roundTrip(t *testing.T, s *suite) {
	x := s.running(t)
	for _, event := range []string{"echo one", "", "echo \x00\xff not UTF-8", strings.Repeat("large ", 100_000)} {
		if got := string(x.Invoke("r", []byte(event))); got != event {
			t.Errorf("got %.40q (%d bytes), want %.40q", got, len(got), event)
		}
	}
	x.Send(wire.KindPing, wire.Ping{Seq: 7}, nil)
	var pong wire.Ping
	if x.Take(wire.KindPong, &pong); pong.Seq != 7 {
		t.Errorf("pong %+v", pong)
	}
}

// payloadLimit holds E-030 and E-031 in the sandbox.
func payloadLimit(t *testing.T, s *suite) {
	x := s.running(t)
	event := bytes.Repeat([]byte("0123456789abcdef"), wire.MaxPayload/16+1)[:wire.MaxPayload]
	if got := x.Invoke("whole", event); !bytes.Equal(got, event) {
		t.Errorf("an event of %d bytes came back as %d others", len(event), len(got))
	}
	x.SendInvoke("over", fmt.Appendf(nil, "big %d", wire.MaxPayload+1))
	var e wire.ErrorHead
	if f := x.Take(wire.KindError, &e); !e.Refused || e.ErrorType != "Function.ResponseSizeTooLarge" || !bytes.Contains(f.Body, []byte("6291556")) {
		t.Errorf("answer to a response over the limit: %+v %s", e, f.Body)
	}
	x.Ready()
	if got := string(x.Invoke("next", []byte("after"))); got != "after" {
		t.Errorf("the invocation after it got %q", got)
	}
}

// streaming holds E-054: what was sent is there before the response is complete, and no more comes than was asked for.
func streaming(t *testing.T, s *suite) {
	const total = 3 * wire.StreamWindow
	x := s.running(t)
	x.SendInvoke("s", fmt.Appendf(nil, "stream %d", total))
	x.Take(wire.KindStreamHead, nil)
	got, allowed := 0, wire.StreamWindow
	for got < total {
		for got < min(allowed, total) {
			f := x.Take(wire.KindStreamChunk, nil)
			if got += len(f.Body); got > allowed {
				t.Fatalf("%d bytes came, %d were allowed", got, allowed)
			}
		}
		if got < total {
			x.Send(wire.KindPing, wire.Ping{}, nil)
			x.Take(wire.KindPong, nil) // and no chunk before it
			allowed += 300_000
			x.Send(wire.KindCredit, wire.Credit{RequestID: "s", Bytes: 300_000}, nil)
		}
	}
	var end wire.StreamEnd
	if x.Take(wire.KindStreamEnd, &end); end.ErrorType != "" || got != total {
		t.Errorf("stream of %d bytes ended %+v, want %d", got, end, total)
	}
	x.Ready()
	x.Invoke("after", []byte("x"))
}

func outputOrder(t *testing.T, s *suite) {
	x := s.create(t, s.backend(t), s.spec(t))
	x.Hello()
	x.Start(x.start(1, "HELLO=1"))
	if f := x.Take(wire.KindReady, nil); f.LogsBefore < 2 {
		t.Errorf("%d records before the first Ready, want those of two descriptors: %+v", f.LogsBefore, x.Logs())
	}
	for round := range s.few(20, 4) {
		const n = 2000
		before := len(x.Logs())
		x.SendInvoke("p", fmt.Appendf(nil, "print %d", n))
		x.Take(wire.KindResponse, nil)
		f := x.Take(wire.KindReady, nil)
		var text strings.Builder
		for _, r := range x.Logs()[before:f.LogsBefore] {
			text.WriteString(r.Text)
		}
		if got := strings.Count(text.String(), "\n"); got != n || !strings.HasSuffix(text.String(), fmt.Sprintf("line %d\n", n-1)) {
			t.Fatalf("round %d: %d lines before Ready, want %d; they end %.40q", round, got, n, text.String()[max(0, text.Len()-40):])
		}
	}
}

// exits holds E-015 and E-073's exit, as far as the guest reports them.
func exits(t *testing.T, s *suite) {
	x := s.create(t, s.backend(t), s.spec(t))
	x.Hello()
	generation := uint64(0)
	for _, c := range []struct {
		name, event, init string
		want              wire.Exited
	}{
		{"exit 0 in an invocation", "exit 0", "", wire.Exited{}},
		{"exit 3 in an invocation", "exit 3", "", wire.Exited{Code: 3}},
		{"killed by a signal", "signal 9", "", wire.Exited{Code: -1, Signal: 9}},
		{"a segmentation fault", "signal 11", "", wire.Exited{Code: 2}}, // Go's runtime makes that of it
		{"exit 7 in init, in mid-line", "", "7", wire.Exited{Code: 7}},
	} {
		generation++
		c.want.Generation = generation
		if c.init != "" {
			x.Start(x.start(generation, "CRASH_AT_INIT="+c.init))
		} else {
			x.Start(x.start(generation))
			x.Ready()
			x.SendInvoke("e", []byte(c.event))
		}
		var got wire.Exited
		f := x.Take(wire.KindExited, &got)
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if c.init != "" && !strings.Contains(x.Output(wire.LogStdout), "last words") {
			t.Errorf("%s: its last words did not come before it: %+v", c.name, x.Logs()[:f.LogsBefore])
		}
		x.Kill(generation, 0)
	}
}

// launchErrors holds E-016 and E-017.
func launchErrors(t *testing.T, s *suite) {
	x := s.create(t, s.backend(t), s.spec(t))
	x.Hello()
	for i, c := range []struct {
		name   string
		change func(*wire.Start)
		want   wire.Exited
	}{
		{"no bootstrap", func(s *wire.Start) { s.Candidates = []string{"/var/nothing/bootstrap"} },
			wire.Exited{Code: 1, LaunchError: "Runtime.InvalidEntrypoint", LaunchText: "Couldn't find valid bootstrap(s): [/var/nothing/bootstrap]"}},
		{"no folder", func(s *wire.Start) { s.Dir = "/var/nothing" },
			wire.Exited{Code: 1, LaunchError: "Runtime.InvalidWorkingDir", LaunchText: "chdir /var/nothing: no such file or directory"}},
		{"no wrapper", func(s *wire.Start) {
			s.Argv, s.Candidates = s.Candidates, nil
			s.Vars = append(s.Vars, "AWS_LAMBDA_EXEC_WRAPPER=/var/nothing/wrapper")
		}, wire.Exited{Code: 127}},
		{"a folder is not executable", func(s *wire.Start) { s.Argv, s.Candidates = []string{s.Dir}, nil },
			wire.Exited{Code: 1, LaunchError: "Runtime.InvalidEntrypoint", LaunchText: "fork/exec " + x.HostPath("/var/task") + ": permission denied"}},
	} {
		start := x.start(uint64(i + 1))
		c.change(&start)
		c.want.Generation = start.Generation
		x.Send(wire.KindStart, start, nil)
		var got wire.Exited
		if x.Take(wire.KindExited, &got); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		x.Kill(start.Generation, 0)
	}
}

// insideView holds E-136 (the folder) and E-138.
func insideView(t *testing.T, s *suite) {
	x := s.running(t)
	caps := x.backend.Capabilities()
	uid, gid := caps.UID, caps.GID
	if uid < 0 {
		uid, gid = os.Getuid(), os.Getgid()
	}
	want := fmt.Sprintf("%d %d 1024/1024 %s 0 <nil>", uid, gid, x.HostPath("/var/task"))
	if got := string(x.Invoke("w", []byte("whoami"))); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if caps.Isolates {
		if got := string(x.Invoke("c", []byte("caps"))); got != "" && strings.Trim(got[strings.Index(got, ":")+1:], "\t 0") != "" {
			t.Errorf("the runtime has capabilities: %s", got)
		}
	}
}

// freezing holds E-144 and E-145, the sandbox's side of them.
func freezing(t *testing.T, s *suite) {
	x := s.running(t)
	x.Invoke("f", []byte("spin"))
	await(t, "the busy thread counts", func() bool { return x.number(t, "spins") > 1000 })
	wall := time.Now() // before the first reading inside: the time between them counts there, too
	clock := x.number(t, "clock")

	for range 3 { // also again
		if err := x.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond) // an accounting tick that belongs to the time before
	before := cpuTicks(x.PIDs())
	time.Sleep(500 * time.Millisecond)
	if used := cpuTicks(x.PIDs()) - before; used > 2 {
		t.Errorf("a frozen sandbox used %d ticks of processor time", used)
	}
	for range 3 {
		if err := x.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	after := x.number(t, "spins")
	await(t, "the busy thread goes on after thaw", func() bool { return x.number(t, "spins") > after })
	went, real := time.Duration(x.number(t, "clock")-clock), time.Since(wall)
	if went < 500*time.Millisecond || went > real+time.Millisecond {
		t.Errorf("the monotonic clock went on by %v in %v with a freeze of half a second", went, real)
	}
	for i := range s.few(50, 10) { // the way it is used
		if err := x.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := x.Thaw(); err != nil {
			t.Fatal(err)
		}
		event := strconv.Itoa(i)
		if got := string(x.Invoke(event, []byte(event))); got != event {
			t.Fatalf("after thaw %d: got %q", i, got)
		}
	}
	if err := x.Freeze(); err != nil { // and close it so
		t.Fatal(err)
	}
}

// cpuTicks is the processor time that host processes have used.
func cpuTicks(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += n
		}
	}
	return sum
}

// killing holds E-063's and E-072's part of the sandbox, and that daemons go too.
func killing(t *testing.T, s *suite) {
	x := s.running(t)
	x.Invoke("1", []byte("count"))
	if got := string(x.Invoke("2", []byte("count"))); got != "2" {
		t.Errorf("memory between invocations: count is %s, want 2", got)
	}
	path := x.HostPath("/tmp") + "/kept"
	if got := string(x.Invoke("3", []byte("write "+path+" text"))); got != "ok" {
		t.Fatal(got)
	}
	daemon := string(x.Invoke("4", []byte("daemon")))
	if got := string(x.Invoke("5", []byte("alive "+daemon))); got != "ok" {
		t.Fatalf("daemon %s before the kill: %s", daemon, got)
	}
	x.SendInvoke("6", []byte("hang"))
	x.Kill(1, 0)
	x.Start(x.start(2))
	x.Ready()
	if got := string(x.Invoke("7", []byte("alive "+daemon))); !strings.Contains(got, "no such process") {
		t.Errorf("daemon %s after the kill: %s", daemon, got)
	}
	if got := string(x.Invoke("8", []byte("read "+path))); got != "text" {
		t.Errorf("/tmp after the kill: %q", got)
	}
	if got := string(x.Invoke("9", []byte("count"))); got != "1" {
		t.Errorf("memory after the kill: count is %s, want 1", got)
	}
	for range 3 { // a stopped one dies as well
		if err := x.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := x.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	x.Kill(2, 0)
	x.Kill(2, 0) // nothing is left to kill: answered all the same
}

// terminating holds E-101's signal; E-096 is the other half: without patience there is no SIGTERM.
func terminating(t *testing.T, s *suite) {
	x := s.create(t, s.backend(t), s.spec(t))
	x.Hello()
	x.Start(x.start(1, "ON_TERM=1"))
	x.Ready()
	x.Kill(1, patience)
	if !strings.Contains(x.Output(wire.LogStdout), "terminated") {
		t.Errorf("the runtime's answer to SIGTERM is missing: %+v", x.Logs())
	}
	n := len(x.Logs())
	x.Start(x.start(2, "ON_TERM=1"))
	x.Ready()
	x.Kill(2, 0)
	if len(x.Logs()) != n {
		t.Errorf("without patience the runtime got a signal that it could handle: %+v", x.Logs()[n:])
	}
	x.Start(x.start(3, "IGNORE_TERM=1"))
	x.Ready()
	x.Kill(3, 100*time.Millisecond)
}

func outOfMemory(t *testing.T, s *suite) {
	x := s.running(t)
	small, err := x.MemoryUsed()
	if err != nil {
		t.Fatal(err)
	}
	x.Invoke("a", []byte("alloc 64"))
	large, err := x.MemoryUsed()
	if err != nil {
		t.Fatal(err)
	}
	if grown := large - small; grown < 60<<20 || grown > 100<<20 {
		t.Errorf("memory used went from %d to %d bytes with 64 MiB more", small, large)
	}
	if s.opt.LimitInside {
		x.SendInvoke("h", fmt.Appendf(nil, "alloc %d", x.spec.MemoryMiB))
		select {
		case <-x.MemoryExceeded():
		case <-time.After(patience):
			t.Error("the owner does not hear of it")
		}
	} else {
		x.SendInvoke("h", []byte("hang"))
	}
	x.Send(wire.KindOutOfMemory, nil, nil) // the owner does so each time it hears of it
	var got wire.Exited
	if x.Take(wire.KindExited, &got); !got.OutOfMemory || got.Signal != int(syscall.SIGKILL) {
		t.Errorf("got %+v, want killed for memory", got)
	}
	x.Kill(1, 0)
	x.Start(x.start(2)) // all else of the sandbox is as it was
	x.Ready()
	if got := string(x.Invoke("after", []byte("after"))); got != "after" {
		t.Errorf("the runtime after it says %q", got)
	}
}

func twenty(t *testing.T, s *suite) {
	b := s.backend(t)
	var boxes []*box
	var mu sync.Mutex
	var all sync.WaitGroup
	for range s.few(20, 3) {
		spec := s.spec(t)
		all.Go(func() {
			sb, err := b.Create(t.Context(), spec)
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			boxes = append(boxes, &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec})
		})
	}
	all.Wait()
	for _, x := range boxes {
		x.Hello()
		x.Start(x.start(1))
	}
	for i, x := range boxes {
		x.Ready()
		x.SendInvoke("r", fmt.Appendf(nil, "write %s/mine %d", x.HostPath("/tmp"), i))
	}
	for i, x := range boxes {
		x.Take(wire.KindResponse, nil)
		x.Ready()
		if got := string(x.Invoke("r", []byte("read "+x.HostPath("/tmp")+"/mine"))); got != strconv.Itoa(i) {
			t.Errorf("sandbox %d reads %q from its /tmp", i, got)
		}
	}
	// Half of them go by themselves, the others with the backend.
	for _, x := range boxes[:len(boxes)/2] {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, x := range boxes {
		x.AwaitEnd()
		if exit := x.Exit(); !exit.Asked {
			t.Errorf("exit of a closed sandbox: %+v", exit)
		}
	}
	if _, err := b.Create(t.Context(), s.spec(t)); err == nil {
		t.Error("a closed backend makes sandboxes")
	}
}

func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

var _ sandbox.Sandbox = (*box)(nil)
