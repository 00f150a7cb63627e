package runtimes_test

import (
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const logging = `exports.handler = async (e, c) => {
	console.log('plain %s', 'text', { a: 1 });
	console.info('two\nlines');
	console.debug('debug'); console.trace('trace'); console.warn('warn');
	console.error('failed', new TypeError('oops')); console.fatal('fatal');
	console.log({ an: 'object' });
	console.log(new RangeError('alone'));
};`

// frame is one record of the framed log descriptor.
type frame struct {
	Kind    uint32
	Micros  uint64
	Message string
}

func framesOf(t *testing.T, b string) []frame {
	t.Helper()
	var out []frame
	for len(b) > 0 {
		if len(b) < 16 {
			t.Fatalf("half a frame: %q", b)
		}
		length := binary.BigEndian.Uint32([]byte(b[4:8]))
		out = append(out, frame{binary.BigEndian.Uint32([]byte(b[:4])), binary.BigEndian.Uint64([]byte(b[8:16])), b[16 : 16+length]})
		b = b[16+length:]
	}
	return out
}

func runLogging(t *testing.T, frames bool, vars map[string]string) *process {
	t.Helper()
	a := newAPI(t)
	p := start(t, a, launch{plan: anyNode(t), task: write(t, js(logging)), handler: "index.handler", frames: frames, vars: vars})
	a.waitParked("invocation/next")
	a.invoke(event{Body: `{}`, ID: "id-1"})
	a.waitParked("invocation/next")
	return p
}

// E-115, E-116: the client's half of the framed log.
func TestNodeLogFramesText(t *testing.T) {
	p := runLogging(t, true, nil)
	got := framesOf(t, waitFor(t, p.frames, "alone"))
	want := []struct {
		kind uint32
		text string
	}{
		{0xa55a000f, "\tid-1\tINFO\tplain text { a: 1 }\n"}, {0xa55a000f, "\tid-1\tINFO\ttwo\nlines\n"}, {0xa55a000b, "\tid-1\tDEBUG\tdebug\n"},
		{0xa55a0007, "\tid-1\tTRACE\ttrace\n"}, {0xa55a0013, "\tid-1\tWARN\twarn\n"}, {0xa55a0017, "\tid-1\tERROR\tfailed TypeError: oops\n    at "},
		{0xa55a001b, "\tid-1\tFATAL\tfatal\n"}, {0xa55a000f, "\tid-1\tINFO\t{ an: 'object' }\n"}, {0xa55a000f, "\tid-1\tINFO\tRangeError: alone\n    at "},
	}
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d: %+v", len(got), len(want), got)
	}
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	for i, w := range want {
		if got[i].Kind != w.kind || !stamp.MatchString(got[i].Message) || !strings.HasPrefix(got[i].Message[24:], w.text) {
			t.Errorf("frame %d is %x %q, want %x ...%q", i, got[i].Kind, got[i].Message, w.kind, w.text)
		}
		if got[i].Micros < 1.6e15 || got[i].Micros > 1e17 {
			t.Errorf("frame %d has the time %d", i, got[i].Micros)
		}
	}
	if out := p.out.String(); out != "" {
		t.Errorf("stdout has %q", out)
	}
}

func TestNodeLogFramesJSON(t *testing.T) {
	p := runLogging(t, true, map[string]string{"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN"})
	got := framesOf(t, waitFor(t, p.frames, "fatal"))
	if len(got) != 3 {
		t.Fatalf("%d frames at level WARN, want 3: %+v", len(got), got)
	}
	kinds := []uint32{0xa55a0012, 0xa55a0016, 0xa55a001a}
	for i, f := range got {
		var line struct {
			Timestamp, Level, RequestID, Message, ErrorType, ErrorMessage string
			StackTrace                                                    []string
		}
		if err := json.Unmarshal([]byte(f.Message), &line); err != nil || f.Kind != kinds[i] || line.RequestID != "id-1" || line.Timestamp == "" {
			t.Errorf("frame %d: %x %s %v", i, f.Kind, f.Message, err)
		}
		if i == 1 && (line.ErrorType != "TypeError" || line.ErrorMessage != "oops" || len(line.StackTrace) < 2 || line.Level != "ERROR") {
			t.Errorf("the error is logged as %s", f.Message)
		}
	}
}

func TestNodeLogStdout(t *testing.T) {
	out := waitFor(t, runLogging(t, false, nil).out, "alone")
	for _, want := range []string{"\tid-1\tINFO\tplain text { a: 1 }\n", "\tid-1\tINFO\ttwo\rlines\n", "\tid-1\tERROR\tfailed TypeError: oops\r    at "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if lines := strings.Count(out, "\n"); lines != 9 {
		t.Errorf("%d lines for 9 messages", lines)
	}
}

func TestNodeLogStdoutJSON(t *testing.T) {
	out := waitFor(t, runLogging(t, false, map[string]string{"AWS_LAMBDA_LOG_FORMAT": "JSON"}).out, "alone")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 9 {
		t.Fatalf("%d lines for 9 messages: %q", len(lines), out)
	}
	var object struct{ Message struct{ An string } }
	if err := json.Unmarshal([]byte(lines[7]), &object); err != nil || object.Message.An != "object" {
		t.Errorf("an object is logged as %s", lines[7])
	}
	var alone struct {
		Message struct{ ErrorType, ErrorMessage string }
	}
	if err := json.Unmarshal([]byte(lines[8]), &alone); err != nil || alone.Message.ErrorType != "RangeError" {
		t.Errorf("an error alone is logged as %s", lines[8])
	}
}

// An error that ends the process is logged before it is told.
func TestNodeLogsWhatKillsIt(t *testing.T) {
	a := newAPI(t)
	p := start(t, a, launch{plan: anyNode(t), task: write(t, js(`throw Object.assign(new Error('boom'), { code: 'E1' })`)), handler: "index.handler", frames: true,
		vars: map[string]string{"AWS_EXECUTION_ENV": until22}})
	a.next()
	if status := p.exitStatus(); status != 129 {
		t.Errorf("exit status %d, want 129", status)
	}
	got := framesOf(t, p.frames.String())
	if len(got) != 1 || !strings.Contains(got[0].Message, "\tundefined\tERROR\tUncaught Exception \t"+`{"errorType":"Error","errorMessage":"boom","code":"E1","stack":["Error: boom",`) {
		t.Errorf("log: %+v", got)
	}
}
