package node

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/logstore"
)

// burst prints numbered lines as fast as it can. What it writes to is a pipe, so the writes wait.
const burst = `const fs = require('fs')
	exports.handler = async (e) => { let n = 0
		while (n < e.lines) { let b = ''; for (let i = 0; i < 500 && n < e.lines; i++) b += 'line ' + (n++) + ' ' + 'x'.repeat(100) + '\n'
			for (let left = Buffer.from(b); left.length; ) { try { left = left.subarray(fs.writeSync(2, left)) } catch (err) { if (err.code !== 'EAGAIN') throw err } } }
		return n }`

// numbered checks that each line of the function's log is the next of the burst, and returns how many there are.
func (f *deployed) numbered() (n int) {
	f.t.Helper()
	events, err := f.node.logs.Filter(context.Background(), logstore.Query{Group: "/aws/lambda/" + f.name})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range events {
		switch {
		case strings.HasPrefix(e.Message, "line "+strconv.Itoa(n)+" "):
			n++
		case strings.HasPrefix(e.Message, "line ") || strings.HasPrefix(e.Message, "[thaw]"):
			f.t.Fatalf("after line %d came %.80q", n-1, e.Message)
		}
	}
	return n
}

// A burst of output loses nothing: its writer waits for the log.
func TestBurstOfOutput(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		const lines = 450_000 // 50 MB
		f := s.js(burst, timeout(120))
		began := time.Now()
		if got := f.invoke(fmt.Sprintf(`{"lines":%d}`, lines)).ok(t); got != fmt.Sprint(lines) {
			t.Fatalf("answer %s", got)
		}
		t.Logf("%d lines of 111 bytes in %v", lines, time.Since(began))
		if n := f.numbered(); n != lines {
			t.Errorf("%d lines are in the log", n)
		}
		f.invoke(`{"lines":0}`).ok(t)
	})
}
