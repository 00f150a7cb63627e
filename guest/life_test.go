package guest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox/sandboxtest"
)

const patience = 30 * time.Second

// script makes a folder with a shell script as bootstrap.
func script(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/bootstrap", []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// call is one HTTP exchange on a connection of its own. In the process sandbox the test can speak to the API itself, as if it were the runtime.
func call(method, url, body string, headers ...string) (int, string, error) {
	status, _, text, err := exchange(method, url, body, headers...)
	return status, text, err
}

// exchange is call with the answer's headers.
func exchange(method, url, body string, headers ...string) (int, http.Header, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Close = true
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// TestGenerations holds E-072: nothing of an old generation reaches the new one, though the address is the same.
func TestGenerations(t *testing.T) {
	r := create(t, script(t, "sleep 1000"))
	first := r.Start(r.start(1))
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", first.APIHost)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	old := dial()
	fmt.Fprintf(old, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n")
	r.Ready()
	idle, half := dial(), dial()
	fmt.Fprintf(half, "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Le")
	r.Kill(1, 0)
	between := dial() // accepted by nobody's generation
	second := r.Start(r.start(2))
	if second.APIHost != first.APIHost {
		t.Errorf("the address was %s and is %s", first.APIHost, second.APIHost)
	}
	for name, c := range map[string]net.Conn{"parked": old, "idle": idle, "in the middle": half, "between": between} {
		fmt.Fprintf(c, "ngth: 0\r\n\r\nPOST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("a %s connection of before was answered %q", name, b)
		}
	}
	r.Send(wire.KindPing, wire.Ping{Seq: 5}, nil)
	r.Take(wire.KindPong, nil) // and nothing before it
	if status, body, err := call("POST", "http://"+second.APIHost+"/2018-06-01/runtime/init/error", "{}"); status != 202 {
		t.Errorf("init/error of the second: %d %s %v", status, body, err)
	}
	var e wire.ErrorHead
	if r.Take(wire.KindInitError, &e); e.Generation != 2 {
		t.Errorf("the host was told of generation %d", e.Generation)
	}
}

// TestSnapshot goes through quiescence and restore on one stream: what the guest would say in between waits, credentials too.
// It holds E-121 to E-123 as far as the guest has a part in them.
func TestSnapshot(t *testing.T) {
	r := create(t, script(t, `env | grep AWS_CONTAINER; while :; do sleep 0.01; echo tick; done`))
	s := r.start(1)
	s.SnapStart = true
	s.Credentials = wire.Credentials{AccessKeyID: "before", ExpirationUnix: 1}
	api := "http://" + r.Start(s).APIHost
	r.AwaitOutput(wire.LogStdout, "tick")
	vars := map[string]string{}
	for line := range strings.Lines(r.Output(wire.LogStdout)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		vars[name] = value
	}
	at, token := vars["AWS_CONTAINER_CREDENTIALS_FULL_URI"], vars["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	if at != api+"/2021-04-23/credentials" || len(token) != 36 {
		t.Fatalf("credentials at %q with token %q", at, token)
	}
	if _, body, err := call("GET", at, "", "Authorization: "+token); !strings.Contains(body, "before") {
		t.Fatalf("credentials before: %s %v", body, err)
	}
	type answer struct {
		status int
		body   string
	}
	ask := func(url string, headers ...string) chan answer {
		c := make(chan answer, 1)
		go func() {
			status, body, err := call("GET", url, "", headers...)
			if err != nil {
				body = err.Error()
			}
			c <- answer{status, body}
		}()
		return c
	}
	parked := ask(api + "/2018-06-01/runtime/restore/next")
	if ready := r.Ready(); ready.Next != wire.NextRestore {
		t.Errorf("ready %+v", ready)
	}
	r.Send(wire.KindQuiesce, nil, nil)
	f := r.Take(wire.KindQuiesced, nil)
	swap := ask(at, "Authorization: "+token)
	time.Sleep(50 * time.Millisecond) // nothing to wait for: nothing may come
	if n := len(r.Logs()); n != f.LogsBefore {
		t.Errorf("%d records came after Quiesced", n-f.LogsBefore)
	}
	select {
	case a := <-swap:
		t.Errorf("credentials during the swap: %+v", a)
	case a := <-parked:
		t.Errorf("restore/next during the swap: %+v", a)
	default:
	}
	r.Send(wire.KindRestored, wire.Restored{UnixNanos: time.Now().UnixNano(), Entropy: make([]byte, 64), EnvID: "e", Credentials: wire.Credentials{AccessKeyID: "after"}}, nil)
	if a := <-parked; a != (answer{200, ""}) {
		t.Errorf("restore/next: %+v", a)
	}
	if a := <-swap; !strings.Contains(a.body, "after") {
		t.Errorf("credentials after: %+v", a)
	}
	next := ask(api + "/2018-06-01/runtime/invocation/next")
	if ready := r.Ready(); ready.Next != wire.NextInvocation {
		t.Errorf("ready after the restore %+v", ready)
	}
	r.SendInvoke("1", []byte("event"))
	if a := <-next; a != (answer{200, "event"}) {
		t.Errorf("event after the restore: %+v", a)
	}
	lines := strings.Count(r.Output(wire.LogStdout), "tick\n")
	r.AwaitOutput(wire.LogStdout, strings.Repeat("tick\n", 2))
	if lines == 0 {
		t.Error("what was written meanwhile is lost")
	}
	r.Kill(1, 0)
}

// TestLogDescriptor holds E-115 and E-116 with a real descriptor, and the splitting of E-114.
func TestLogDescriptor(t *testing.T) {
	r := create(t, script(t, `printf 'another\rline\n'
printf '\245\132\0\027\0\0\0\011\0\0\0\0\0\0\0\052two\nlines\245\132\0\016\0\0\0\377\0\0\0\0\0\0\0\053{"half"' > /proc/self/fd/$_LAMBDA_TELEMETRY_LOG_FD
printf 'no end' >&2`))
	s := r.start(1)
	s.LogFrames = true
	r.Start(s)
	f := r.Take(wire.KindExited, nil)
	logs := r.Logs()
	if f.LogsBefore != len(logs) {
		t.Errorf("%d records after Exited", len(logs)-f.LogsBefore)
	}
	want := map[sandboxtest.Record]bool{
		{LogHead: wire.LogHead{Source: wire.LogStdout}, Text: "another\rline\n"}:                           true,
		{LogHead: wire.LogHead{Source: wire.LogStderr}, Text: "no end"}:                                    true,
		{LogHead: wire.LogHead{Source: wire.LogFrame, UnixMicros: 42, Level: "ERROR"}, Text: "two\nlines"}: true,
		{LogHead: wire.LogHead{Source: wire.LogFrame, UnixMicros: 43, Level: "INFO"}, Text: `{"half"`}:     true,
	}
	for _, got := range logs {
		if got.Source != wire.LogFrame {
			if age := time.Since(time.UnixMicro(got.UnixMicros)); age < 0 || age > patience {
				t.Errorf("%+v was read %v ago", got, age)
			}
			got.UnixMicros = 0
		}
		if !want[got] {
			t.Errorf("unexpected %+v", got)
		}
		delete(want, got)
	}
	for missing := range want {
		t.Errorf("missing %+v", missing)
	}
}

// TestChattyNeighbour: a process that never stops writing does not keep Ready from coming. Without a window, as no server
// starts a guest, Ready would come behind all that was read before, which is more than this test can take in.
func TestChattyNeighbour(t *testing.T) {
	r := create(t, script(t, `yes & curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"; wait`))
	s := r.start(1)
	s.LogWindow = wire.LogWindow
	credited := r.credit()
	r.Start(s)
	r.Ready()
	credited()
	r.Kill(1, 0)
}

// TestMisuse: what a server should not say is answered with a Fault, and the guest goes on.
func TestMisuse(t *testing.T) {
	r := create(t, script(t, "sleep 1000"))
	r.SendInvoke("early", nil)
	var fault wire.Fault
	if r.Take(wire.KindFault, &fault); fault.Doing != "invoke early" {
		t.Errorf("fault %+v", fault)
	}
	r.Start(r.start(1))
	r.Send(wire.KindStart, r.start(2), nil)
	if r.Take(wire.KindFault, &fault); fault.Doing != "start" {
		t.Errorf("fault %+v", fault)
	}
	r.Send(wire.Kind(200), nil, nil)
	r.Take(wire.KindFault, &fault)
	r.Kill(99, 0)
	r.Kill(1, 0)
	s := r.start(3)
	s.APIHost = "[::1]:9001"
	r.Send(wire.KindStart, s, nil)
	if r.Take(wire.KindFault, &fault); !strings.Contains(fault.Text, "address of the API") {
		t.Errorf("fault %+v", fault)
	}
	r.Start(r.start(4))
	r.Send(wire.KindExit, nil, nil)
	if err := r.AwaitEnd(); err != io.EOF && err != io.ErrUnexpectedEOF {
		t.Errorf("after Exit: %v", err)
	}
}

// TestNonsense: a guest that cannot understand its server goes, with all that it started.
func TestNonsense(t *testing.T) {
	r := create(t, script(t, "sleep 1000"))
	r.Start(r.start(1))
	pids := r.PIDs()
	if _, err := r.Conn().Write([]byte("\xff\xff\xff\xff nonsense")); err != nil {
		t.Fatal(err)
	}
	r.AwaitEnd()
	select {
	case <-r.Exited():
	case <-time.After(patience):
		t.Fatal("the guest is still there")
	}
	for _, pid := range pids {
		for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
		}
	}
}

// TestAnyAddress: with an APIHost the address is that one, and stays.
func TestAnyAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	r := create(t, script(t, "sleep 1000"))
	for generation := range uint64(3) {
		s := r.start(generation + 1)
		s.APIHost = free
		if got := r.Start(s).APIHost; got != free {
			t.Errorf("listens on %s, want %s", got, free)
		}
		c, err := net.Dial("tcp", free)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /2018-06-01/ping HTTP/1.1\r\n\r\n")
		if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "200") {
			t.Errorf("ping: %q", line)
		}
		c.Close()
		r.Kill(generation+1, 0)
	}
}
