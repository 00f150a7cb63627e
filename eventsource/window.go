package eventsource

import (
	"bytes"
	"encoding/json"
	"time"

	"thaw/internal/plainjson"
)

// Window is a tumbling window that is open. Source: section 4.4.
type Window struct {
	Start time.Time
	State json.RawMessage // what the function has answered last; {} at first
}

const (
	windowTime = "2006-01-02T15:04:05Z"
	maxState   = 1 << 20 // of a window, in bytes
)

// WindowStart is when the window begins that a record belongs to: windows are multiples of their length.
func WindowStart(arrived time.Time, seconds int) time.Time {
	n := int64(seconds)
	return time.Unix(arrived.Unix()/n*n, 0).UTC()
}

// WindowCall says what a call of a window tells its function.
type WindowCall struct {
	Seconds      int // of the window
	Shard, ARN   string
	Final, Early bool
}

// Event is the event with records of one window. S-075.
func (w *Window) Event(e Envelope, records []*Record, c WindowCall) []byte {
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(e.Event(records), []byte("}")))
	member := func(name string, v any) {
		b.WriteByte(',')
		b.Write(plainjson.Value(name))
		b.WriteByte(':')
		if s, ok := v.(string); ok {
			b.Write(plainjson.Value(s))
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // of our own
		}
		b.Write(text)
	}
	member("window", struct {
		Start string `json:"start"`
		End   string `json:"end"`
	}{w.Start.UTC().Format(windowTime), w.Start.Add(time.Duration(c.Seconds) * time.Second).UTC().Format(windowTime)})
	b.WriteString(`,"state":`)
	b.Write(w.State)
	member("shardId", c.Shard)
	member("eventSourceARN", c.ARN)
	member("isFinalInvokeForWindow", c.Final)
	member("isWindowTerminatedEarly", c.Early)
	b.WriteByte('}')
	return b.Bytes()
}

// StateOf reads the state in the answer of a window's function. ok is false where there is none, which is a function
// error; early: it is so long that the window ends. S-073, S-074.
func StateOf(answer []byte) (state json.RawMessage, early, ok bool) {
	var a struct {
		State json.RawMessage `json:"state"`
	}
	if json.Unmarshal(answer, &a) != nil || len(a.State) == 0 || a.State[0] != '{' {
		return nil, false, false
	}
	return a.State, len(a.State) > maxState, true
}
