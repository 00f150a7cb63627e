package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestFrames(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 100_000)
	var stream bytes.Buffer
	w := NewWriter(&stream)
	for _, step := range []func() error{
		func() error { return w.Queue(KindLog, LogHead{Source: LogStdout, UnixMicros: 5}, []byte("line\n")) },
		func() error { return w.Queue(KindLog, LogHead{Source: LogStderr}, large) },
		func() error { return w.Queue(KindLog, nil, nil) },
		func() error { return w.Send(KindReady, Ready{Generation: 3, Next: NextInvocation}, nil) },
		func() error { return w.Send(KindResponse, ResponseHead{RequestID: "r"}, large) },
		func() error { return w.Queue(KindPong, Ping{Seq: 1}, nil) },
		func() error { return w.Flush() },
		func() error { return w.Flush() },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(iotest.HalfReader(&stream))
	for i, want := range []struct {
		kind Kind
		head string
		body []byte
	}{
		{KindLog, `{"src":"stdout","us":5}`, []byte("line\n")},
		{KindLog, `{"src":"stderr","us":0}`, large},
		{KindLog, "", nil},
		{KindReady, `{"gen":3,"next":"invocation"}`, nil},
		{KindResponse, `{"gen":0,"id":"r"}`, large},
		{KindPong, `{"seq":1}`, nil},
	} {
		f, err := r.Next()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if f.Kind != want.kind || string(f.Head) != want.head || !bytes.Equal(f.Body, want.body) {
			t.Errorf("frame %d: kind %d %s with %d bytes, want kind %d %s with %d", i, f.Kind, f.Head, len(f.Body), want.kind, want.head, len(want.body))
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last frame: %v, want EOF", err)
	}
}

// countWriter counts writes.
type countWriter struct{ writes, bytes int }

func (c *countWriter) Write(b []byte) (int, error) {
	c.writes++
	c.bytes += len(b)
	return len(b), nil
}

func TestWriterWritesOnce(t *testing.T) {
	var c countWriter
	w := NewWriter(&c)
	w.Queue(KindLog, LogHead{}, []byte("line\n"))
	w.Send(KindReady, Ready{}, nil)
	if c.writes != 1 {
		t.Errorf("a queued frame and the one after it took %d writes", c.writes)
	}
	if err := w.Send(KindResponse, nil, make([]byte, MaxFrame)); !errors.Is(err, ErrFrame) || c.writes != 1 {
		t.Errorf("too large: %v, %d writes", err, c.writes)
	}
}

func TestExitReason(t *testing.T) {
	for want, e := range map[string]Exited{ // E-015, E-064, E-065
		"Runtime exited without providing a reason":             {},
		"Runtime exited with error: exit status 3":              {Code: 3},
		"Runtime exited with error: signal: killed":             {Code: -1, Signal: 9},
		"Runtime exited with error: signal: segmentation fault": {Code: -1, Signal: 11},
		"Runtime exited with error: signal: aborted":            {Code: -1, Signal: 6},
		"fork/exec /var/task/bootstrap: exec format error":      {Code: 1, LaunchError: "Runtime.InvalidEntrypoint", LaunchText: "fork/exec /var/task/bootstrap: exec format error"},
	} {
		if got := e.Reason(); got != want {
			t.Errorf("%+v: got %q, want %q", e, got, want)
		}
	}
}

// FuzzReader reads whatever comes: either frames that can be written again byte for byte in meaning, or one of the three ends.
func FuzzReader(f *testing.F) {
	var seed bytes.Buffer
	w := NewWriter(&seed)
	w.Send(KindInvoke, Invoke{RequestID: "1"}, []byte("event"))
	w.Send(KindExit, nil, nil)
	f.Add(seed.Bytes())
	f.Add([]byte{0, 0, 0, 5, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 6, 1, 0, 0, 0, 9, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		read := 0
		for {
			frame, err := r.Next()
			if err != nil {
				switch {
				case err == io.EOF && read != len(b):
					t.Fatalf("orderly end after %d of %d bytes", read, len(b))
				case err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrFrame):
					t.Fatal(err)
				}
				return
			}
			read += 9 + len(frame.Head) + len(frame.Body)
			var again bytes.Buffer
			if err := NewWriter(&again).Send(frame.Kind, rawJSON(frame.Head), frame.Body); err != nil {
				return // a head that is no JSON cannot be written
			}
			back, err := NewReader(&again).Next()
			if err != nil || back.Kind != frame.Kind || !bytes.Equal(back.Body, frame.Body) {
				t.Fatalf("wrote %+v, read %+v, %v", frame, back, err)
			}
			for _, head := range []any{new(Start), new(Invoke), new(Kill), new(Restored), new(Credit), new(Ready), new(ErrorHead), new(Exited), new(LogHead), new(StreamEnd)} {
				frame.Decode(head) // any error will do, a panic will not
			}
		}
	})
}

// rawJSON is a head that is written as it is.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return r, nil
}
