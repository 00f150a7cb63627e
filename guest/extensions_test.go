package guest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
)

// registerAs registers with the API as if it were an extension, and returns its identifier.
func registerAs(t *testing.T, api, name, events string) string {
	t.Helper()
	req := `{"events":` + events + `}`
	status, head, body, err := exchange("POST", "http://"+api+"/2020-01-01/extension/register", req, "Lambda-Extension-Name: "+name)
	if status != 200 {
		t.Fatalf("register %s: %d %s %v", name, status, body, err)
	}
	return head.Get("Lambda-Extension-Identifier")
}

const (
	// trapping prints what ends it: nothing is printed by one that is killed.
	trapping = `trap 'echo terminated; exit 0' TERM
echo ready
while :; do sleep 0.02; done`
	stubborn = `trap 'echo terminated' TERM
echo ready
while :; do sleep 0.02; done`
)

// TestShutdownWithoutBudget holds E-096: a runtime beside which there is no extension is killed at once.
func TestShutdownWithoutBudget(t *testing.T) {
	t.Parallel()
	r := create(t, script(t, trapping))
	r.Start(r.start(1))
	r.AwaitOutput(wire.LogStdout, "ready")
	r.Kill(1, 0)
	if out := r.Output(wire.LogStdout); strings.Contains(out, "terminated") {
		t.Errorf("it was terminated and not killed: %q", out)
	}
}

// TestShutdownOfAnInternalExtension holds E-097 and E-101: SIGTERM for the runtime's whole group, and SIGKILL when its
// time is over.
func TestShutdownOfAnInternalExtension(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		text   string
		budget time.Duration
	}{"goes": {trapping, patience}, "stays": {stubborn, 500 * time.Millisecond}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := create(t, script(t, c.text))
			api := r.Start(r.start(1)).APIHost
			r.AwaitOutput(wire.LogStdout, "ready")
			registerAs(t, api, "internal", `["INVOKE"]`)
			var x wire.Extension
			if r.Take(wire.KindExtension, &x); !x.Internal || x.State != "Registered" {
				t.Errorf("the host was told %+v", x)
			}
			began := time.Now()
			r.Kill(1, c.budget)
			took := time.Since(began)
			if out := r.Output(wire.LogStdout); !strings.Contains(out, "terminated") {
				t.Errorf("no SIGTERM: %q", out)
			}
			if stays := what == "stays"; stays != (took >= c.budget) {
				t.Errorf("the shutdown took %v", took)
			}
		})
	}
}

// TestShutdownOfExternalExtensions holds E-098, E-099, E-100 and E-102: the runtime goes first; then SHUTDOWN for who
// wants it, nothing for who does not; parked calls of the runtime are not answered.
func TestShutdownOfExternalExtensions(t *testing.T) {
	t.Parallel()
	task := script(t, `trap 'echo runtime terminated; exit 0' TERM
curl -s -o /dev/null -w 'next %{http_code}\n' "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" &
while :; do sleep 0.02; done`)
	opt := task + "/opt"
	if err := os.MkdirAll(opt+"/extensions", 0o755); err != nil {
		t.Fatal(err)
	}
	const extension = `#!/bin/sh
trap 'echo NAME terminated' TERM
api=http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension
id=$(curl -s -D - -o /dev/null -H "Lambda-Extension-Name: NAME" -d '{"events":EVENTS}' $api/register | tr -d '\r' | sed -n 's/^Lambda-Extension-Identifier: //p')
echo NAME $(curl -s -H "Lambda-Extension-Identifier: $id" $api/event/next)
`
	for name, events := range map[string]string{"told": `["SHUTDOWN"]`, "untold": `[]`} {
		text := strings.NewReplacer("NAME", name, "EVENTS", events).Replace(extension)
		if err := os.WriteFile(opt+"/extensions/"+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := create(t, task)
	s := r.start(1)
	s.Opt = opt
	r.Send(wire.KindStart, s, nil)
	for r.TakeAny().Kind != wire.KindReady {
	}
	began := time.Now()
	const budget = patience / 2
	r.Send(wire.KindKill, wire.Kill{Generation: 1, BudgetMs: budget.Milliseconds(), RuntimeMs: budget.Milliseconds() / 2, Reason: "SPINDOWN"}, nil)
	r.Take(wire.KindKilled, nil)
	if took := time.Since(began); took > budget*9/10 {
		t.Errorf("the shutdown took %v although everybody went", took)
	}
	out, ext := r.Output(wire.LogStdout), r.Output(wire.LogExtension)
	if !strings.Contains(out, "runtime terminated") || strings.Contains(out, "next ") {
		t.Errorf("the runtime printed %q", out)
	}
	if strings.Contains(ext, "terminated") || strings.Contains(ext, "untold {") {
		t.Errorf("the extensions printed %q", ext)
	}
	_, event, _ := strings.Cut(ext, "told ")
	var e struct {
		EventType, ShutdownReason string
		DeadlineMs                int64
	}
	if err := json.Unmarshal([]byte(strings.TrimSpace(event)), &e); err != nil || e.EventType != "SHUTDOWN" || e.ShutdownReason != "SPINDOWN" {
		t.Fatalf("the extensions printed %q: %v", ext, err)
	}
	if d := time.UnixMilli(e.DeadlineMs).Sub(began); d < budget-100*time.Millisecond || d > budget*3/2 {
		t.Errorf("the deadline is %v after the beginning", d)
	}
}

// TestExtensionsAfterAReset holds E-070 and E-071: identifiers and subscriptions of before are gone, and can be had anew.
func TestExtensionsAfterAReset(t *testing.T) {
	t.Parallel()
	r := create(t, script(t, "sleep 1000"))
	subscribe := func(api, id string) {
		t.Helper()
		const wish = `{"schemaVersion":"2022-12-13","types":["platform"],"destination":{"protocol":"TCP","port":1}}`
		if status, _, body, err := exchange("PUT", "http://"+api+"/2022-07-01/telemetry", wish, "Lambda-Extension-Identifier: "+id); status != 200 {
			t.Fatalf("subscribe: %d %s %v", status, body, err)
		}
		r.Take(wire.KindExtension, nil)
		var m wire.Subscribed
		if r.Take(wire.KindSubscribed, &m); m.Again {
			t.Errorf("the host was told %+v", m)
		}
	}
	api := r.Start(r.start(1)).APIHost
	id := registerAs(t, api, "internal", `[]`)
	subscribe(api, id)
	r.Kill(1, 0)
	api = r.Start(r.start(2)).APIHost
	status, _, body, err := exchange("GET", "http://"+api+"/2020-01-01/extension/event/next", "", "Lambda-Extension-Identifier: "+id)
	if status != 403 || !strings.Contains(body, "Extension.UnknownExtensionIdentifier") {
		t.Errorf("%d %s %v", status, body, err)
	}
	subscribe(api, registerAs(t, api, "internal", `["INVOKE"]`))
}

// What telemetry hears first comes with the runtime's start, not after it: whatever the runtime prints, and whoever
// subscribes when.
func TestWhatTelemetryHearsFirst(t *testing.T) {
	t.Parallel()
	r := create(t, script(t, "echo loaded; sleep 1000"))
	s := r.start(1)
	s.First = wire.Platform{UnixMicros: time.Now().UnixMicro(), Type: "platform.initStart"}
	r.Send(wire.KindStart, s, []byte(`{"phase":"init"}`))
	var started wire.Started
	r.Take(wire.KindStarted, &started)
	r.AwaitOutput(wire.LogStdout, "loaded\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	id := registerAs(t, started.APIHost, "internal", `[]`)
	wish := fmt.Sprintf(`{"schemaVersion":"2022-12-13","types":["platform","function"],"buffering":{"timeoutMs":25},"destination":{"protocol":"TCP","port":%d}}`,
		l.Addr().(*net.TCPAddr).Port)
	if status, _, body, err := exchange("PUT", "http://"+started.APIHost+"/2022-07-01/telemetry", wish, "Lambda-Extension-Identifier: "+id); status != 200 {
		t.Fatalf("subscribe: %d %s %v", status, body, err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	records := json.NewDecoder(c)
	for _, want := range []string{"platform.initStart", "function"} {
		var got struct{ Type string }
		if err := records.Decode(&got); err != nil || got.Type != want {
			t.Errorf("told %q (%v), want %q", got.Type, err, want)
		}
	}
}
