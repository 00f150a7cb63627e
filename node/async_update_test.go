package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// C-101: events that were accepted before an update, and had not begun, run on the new code; what ran ends on the old.
func TestQueuedEventsRunOnNewCode(t *testing.T) {
	t.Parallel()
	s := openServerWith(t, "process", t.TempDir(), func(c *Config) { c.AsyncConcurrency = 2 })
	defer s.node.Close(context.Background())
	gate := filepath.Join(t.TempDir(), "open")
	for d := filepath.Dir(gate); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755) //nolint:errcheck // the function's user must see into it
	}
	code := func(which string) string {
		return `exports.handler = async (e) => { console.log('begun ' + e); while (!require('fs').existsSync(process.env.GATE)) await new Promise(r => setTimeout(r, 10)); console.log('` +
			which + ` code ran ' + e + '.') }`
	}
	f := s.js(code("old"), vars(map[string]string{"GATE": gate}))
	const events = 10
	for i := range events {
		if err := f.send(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	f.logs("begun 0", "begun 1")
	f.update(code("new"))
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	all := func() string { return strings.Join(f.logs(), "\n") }
	until(t, time.Minute, "all have run", func() bool { return strings.Count(all(), " code ran ") == events })
	for i := range events {
		which := "new"
		if i < 2 {
			which = "old"
		}
		if want := fmt.Sprintf("%s code ran %d.", which, i); !strings.Contains(all(), want) {
			t.Errorf("no %q in\n%s", want, all())
		}
	}
}
