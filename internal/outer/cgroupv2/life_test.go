package cgroupv2

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const javascript = `let count = 0; const born = require('crypto').randomUUID(); const kept = []
exports.handler = async (e) => {
	for (let i = 0; i < (e.KeepMiB || 0); i++) kept.push(Buffer.alloc(1 << 20, 1))
	return { Count: ++count, Born: born }
}`

// E-012, E-019, E-073, E-120, E-131: the life of environments on a host with control groups of version 2 alone. One server
// and its functions go through all parts, in this order.
func TestLifeUnderVersion2(t *testing.T) {
	needMachine(t)
	before := machineNow(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	l := &life{dir: dir, code: map[string][]byte{"bootstrap": read(t, functionExe)}, first: map[*function]answer{}}
	for _, part := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"the doctor finds version 2", func(t *testing.T) {
			if got := doctor(t, dir); !strings.Contains(got, "version 2 with memory and cpu") {
				t.Errorf("doctor:\n%s", got)
			}
		}},
		{"functions are created and invoked", l.begin},
		{"the kernel freezes environments that wait", l.freeze},
		{"the memory limit ends a function", l.outOfMemory},
		{"an environment answers after 15 seconds", func(t *testing.T) { l.wake(t, l.short, 15*time.Second) }},
		{"a version is saved and restored", l.publish},
		{"an environment answers after 35 seconds", func(t *testing.T) { l.wake(t, l.long, 35*time.Second) }},
		{"a server that was killed is swept up after, and its snapshots serve", l.kill},
		{"a server that was stopped leaves nothing", func(t *testing.T) { l.stop(t, before) }},
	} {
		if !t.Run(part.name, part.run) {
			return // the others go on from there
		}
	}
}

// life is what the parts of the test share.
type life struct {
	dir    string
	code   map[string][]byte
	server *server
	// Two functions that wait for the next invocation at the same time, and how they answered their first.
	short, long *function
	first       map[*function]answer
	rested      time.Time // since when they wait
}

// on makes server and functions report to a part.
func (l *life) on(t *testing.T) { l.server.t = t }

func (l *life) begin(t *testing.T) {
	l.server = start(t, l.dir)
	l.short = l.server.create("short", types.RuntimeProvidedal2023, 256, l.code)
	if _, err := exec.LookPath("node"); err == nil {
		l.long = l.server.create("long", "nodejs20.x", 256, map[string][]byte{"index.js": []byte(javascript)})
	} else {
		t.Log("no Node.js in this machine: with Go alone")
		l.long = l.server.create("long", types.RuntimeProvidedal2023, 256, l.code)
	}
	for _, f := range []*function{l.short, l.long} {
		l.first[f] = f.answers("$LATEST")
		if again := f.answers("$LATEST"); again.Born != l.first[f].Born || again.Count != 2 {
			t.Errorf("%s: the second invocation is answered by another environment: %+v, then %+v", f.name, l.first[f], again)
		}
	}
	l.rested = time.Now()
}

func (l *life) freeze(t *testing.T) {
	l.on(t)
	l.server.until("both environments are frozen", func() bool { return frozenGroups() >= 2 })
}

// wake invokes a function that nobody has for so much time.
func (l *life) wake(t *testing.T, f *function, idle time.Duration) {
	l.on(t)
	time.Sleep(time.Until(l.rested.Add(idle)))
	if a := f.answers("$LATEST"); a.Born != l.first[f].Born || a.Count != 3 {
		t.Errorf("%s: after %v it answers %+v, was born as %+v", f.name, time.Since(l.rested), a, l.first[f])
	}
}

// outOfMemory wants the kernel to end a function that passes its limit, and the next invocation to work.
func (l *life) outOfMemory(t *testing.T) {
	l.on(t)
	f := l.server.create("eater", types.RuntimeProvidedal2023, 128, l.code)
	f.answers("$LATEST")
	body, functionError, log := f.invoke("$LATEST", `{"KeepMiB":300}`)
	if functionError == "" || !strings.Contains(log, "Error Type: Runtime.OutOfMemory") {
		t.Errorf("past its memory: %s %s\n%s", functionError, body, log)
	}
	if a := f.answers("$LATEST"); a.Count != 1 {
		t.Errorf("the environment after it answers %+v", a)
	}
}

func (l *life) publish(t *testing.T) {
	l.on(t)
	l.short.publish()
	restored(t, l.short)
}

func (l *life) kill(t *testing.T) {
	l.on(t)
	l.short.answers("$LATEST") // so that there is something to sweep
	l.server.end(syscall.SIGKILL)
	l.server = start(t, l.dir)
	l.short.server, l.long.server = l.server, l.server
	restored(t, l.short)
	l.long.answers("$LATEST")
}

func (l *life) stop(t *testing.T, before []string) {
	l.on(t)
	if err := l.server.end(syscall.SIGTERM); err != nil {
		t.Errorf("the server ended: %v", err)
	}
	after := machineNow(t)
	for end := time.Now().Add(patience); len(more(before, after)) > 0 && time.Now().Before(end); after = machineNow(t) {
		time.Sleep(100 * time.Millisecond)
	}
	for _, what := range more(before, after) {
		t.Error("left:", what)
	}
}

// restored wants version 1 to come from its snapshot: E-019.
func restored(t *testing.T, f *function) {
	t.Helper()
	a := f.answers("1")
	if !strings.Contains(a.log, "Restore Duration: ") || strings.Contains(a.log, "Init Duration: ") {
		t.Errorf("%s: version 1 was not restored:\n%s", f.name, a.log)
	}
	if b := f.answers("1"); a.Count != 1 || b.Count != 2 || a.Born != b.Born {
		t.Errorf("%s: restored, it answers %+v, then %+v", f.name, a, b)
	}
}

func decoded(t testing.TB, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
