package courier

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"thaw/async"
	"thaw/invoke"
	"thaw/outbox"
	"thaw/push"
)

type functions struct {
	err error
	got []*push.Delivery
}

func (f *functions) Accept(_ context.Context, d *push.Delivery) (string, error) {
	f.got = append(f.got, d)
	return d.RequestID, f.err
}

type box struct{ letters []*outbox.Letter }

func (b *box) Accept(_ context.Context, l *outbox.Letter) error {
	b.letters = append(b.letters, l)
	return nil
}

const (
	fn    = "arn:aws:lambda:eu-west-1:123456789012:function:f"
	queue = "arn:aws:sqs:eu-west-1:123456789012:q"
)

// Where things go, and what becomes of what a function does not take.
func TestSend(t *testing.T) {
	for _, c := range []struct {
		name, to, body, dead string
		err                  error  // of the function's queue
		payload              string // that the function got
		letter               string // to whom, and with which error
		again                bool   // the sender is told to try again
	}{
		{name: "a function", to: fn, body: `{"a":1}`, payload: `{"a":1}`},
		{name: "text for a function", to: fn, body: `say "hi"`, payload: `"say \"hi\""`},
		{name: "a queue", to: queue, body: `text`, letter: queue + " "},
		{name: "a function that is not there", to: fn, body: `{}`, dead: queue, err: &invoke.NotFoundError{ARN: fn}, payload: `{}`, letter: queue + " NO_RESOURCE"},
		{name: "a function that does not let us in", to: fn, body: `{}`, dead: queue, err: &push.NotAllowedError{Function: fn}, payload: `{}`, letter: queue + " NO_PERMISSIONS"},
		{name: "another failure, and no dead-letter queue", to: fn, body: `{}`, err: errors.New("no"), payload: `{}`},
		{name: "a full disk", to: fn, body: `{}`, dead: queue, err: async.ErrFull, payload: `{}`, again: true},
		{name: "a server that stops", to: fn, body: `{}`, dead: queue, err: async.ErrStopping, payload: `{}`, again: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, b := &functions{err: c.err}, &box{}
			x := &Courier{Functions: f, Box: b, Log: slog.New(slog.DiscardHandler), Now: time.Now}
			err := x.Send(t.Context(), &Parcel{Letter: &outbox.Letter{To: c.to, Body: []byte(c.body), DeadLetter: c.dead, Trace: "Root=1"}, Service: "events.amazonaws.com", Source: "rule", Role: "role", RequestID: "id"})
			if (err != nil) != c.again {
				t.Error(err)
			}
			if c.payload != "" && (len(f.got) != 1 || string(f.got[0].Payload) != c.payload || f.got[0].TraceID != "Root=1" || f.got[0].Role != "role" || f.got[0].RequestID != "id") {
				t.Errorf("%+v", f.got)
			}
			var letters []string
			for _, l := range b.letters {
				letters = append(letters, l.To+" "+l.Attributes["ERROR_CODE"])
			}
			if got := strings.Join(letters, "; "); got != c.letter {
				t.Errorf("letters %q, want %q", got, c.letter)
			}
			if c.payload != "" {
				if of := x.Tally("rule", fn); (of.Events == 1) != (c.err == nil) || (of.Trouble != "") != (c.err != nil) {
					t.Errorf("%+v", of)
				}
				if x.Forget("rule"); x.Tally("rule", fn) != (Tally{}) {
					t.Error("it is not forgotten")
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for arn, want := range map[string]string{fn: "", fn + ":live": "", queue: "", "arn:aws:sns:eu-west-1:1:t": "", "arn:aws:events:eu-west-1:123456789012:event-bus/b": "", "arn:aws:logs:eu-west-1:1:log-group:g": "",
		"x": "not in correct format", "arn:aws:lambda:eu-west-1:1:layer:l": "is not the ARN of a function", "arn:aws:events:eu-west-1:999999999999:event-bus/b": "only buses of this server", "arn:aws:logs:eu-west-1:1:x": "is not the ARN of a log group", "arn:aws:ecs:eu-west-1:1:cluster/c": "ecs cannot be a target"} {
		if err := Check(arn, "123456789012"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", arn, err, want)
		}
	}
}
