package trace

import (
	"encoding/json"
	"fmt"
	"time"

	"thaw/function"
)

// Origin says which of the two segments one is. Source: X-Ray Developer Guide, Segment documents.
type Origin string

// The origins.
const (
	Service  Origin = "AWS::Lambda"
	Function Origin = "AWS::Lambda::Function"
)

// Segment is one part of an invocation that is sent by itself.
type Segment struct {
	Origin     Origin
	ID, Parent string // Parent may be empty
	Root       string
	State      string // tracestate
	Begin, End time.Time
	Open       bool // there will be more of it: it is sent again
	Of         Of
	Fate       Fate
	Parts      []Part
	Attributes []Attribute // of the environment, for spans
}

// Of says whose invocation it is.
type Of struct {
	Name, Version, Account, Region string
	ARN                            string // as invoked
	MemoryMiB                      int
	RequestID                      string
	Async                          bool
}

// Fate is how something ended.
type Fate struct {
	Status    int  // HTTP, as the sender has it; 0: there is none
	Error     bool // the function's or the sender's
	Fault     bool // the platform's
	Throttled bool
	ErrorType string
	Cause     json.RawMessage // what the runtime says of it
}

// Attribute is a fact for a span; Value is a string, an int or a bool.
type Attribute struct {
	Name  string
	Value any
}

// Part is a subsegment.
type Part struct {
	Name       string // of the subsegment; empty: spans alone have it
	Span       string // name of the span; empty: subsegments alone have it
	ID         string
	Parent     string // of the span; empty: the segment
	Begin, End time.Time
	Fate       Fate
}

// Recorded is what is known of an invocation when it begins.
type Recorded struct {
	Of
	Root, Parent, State string // Parent: the sender's segment
	Arrived             time.Time
	IDs                 function.Segments
}

// Answered is the segment of a synchronous invocation, when its sender has the answer.
func (r *Recorded) Answered(at time.Time, f Fate) *Segment {
	return &Segment{Origin: Service, ID: r.IDs.Service, Parent: r.Parent, Root: r.Root, State: r.State, Begin: r.Arrived, End: at, Of: r.Of, Fate: f}
}

// Attempt is one of an asynchronous invocation.
type Attempt struct {
	From, To  time.Time
	Status    int    // HTTP, as a synchronous sender would have it
	ErrorType string // Unhandled: the function failed
}

// Tried is the segment of an asynchronous invocation after an attempt. ended: it was the last.
func (r *Recorded) Tried(attempts []Attempt, ended bool) *Segment {
	s := r.Answered(attempts[len(attempts)-1].To, Fate{Status: 202})
	s.Open = !ended
	s.Parts = append(s.Parts, Part{Name: "Dwell Time", Span: "dwell time", ID: partID(r.IDs.Service, "dwell time"), Begin: r.Arrived, End: attempts[0].From})
	for i, a := range attempts {
		n := i + 1
		f := Fate{Status: a.Status, Error: a.ErrorType != "" || a.Status == 429, ErrorType: a.ErrorType, Throttled: a.Status == 429, Fault: a.Status >= 500}
		s.Parts = append(s.Parts, Part{Name: fmt.Sprintf("Attempt #%d", n), Span: fmt.Sprintf("attempt %d", n), ID: attemptIDs(r.RequestID, n).Service, Begin: a.From, End: a.To, Fate: f})
		if ended && i == len(attempts)-1 {
			s.Fate.Error, s.Fate.Fault, s.Fate.Throttled = f.Error, f.Fault, f.Throttled
		}
	}
	return s
}

// Executed is the segment of what an environment did.
func (r *Recorded) Executed(t *function.Timings) *Segment {
	s := &Segment{Origin: Function, ID: r.IDs.Function, Parent: r.IDs.Service, Root: r.Root, State: r.State, Begin: t.Taken, End: t.Ended, Of: r.Of,
		Fate: fateOf(t), Attributes: []Attribute{{"faas.instance", t.Environment}, {"faas.coldstart", !t.Init.From.IsZero() || !t.Restore.From.IsZero()}}}
	part := func(p Part, name string) {
		if p.Begin.IsZero() || p.End.IsZero() || p.End.Before(p.Begin) {
			return
		}
		p.ID = partID(r.IDs.Function, name)
		s.Parts = append(s.Parts, p)
	}
	if !r.Async { // of an asynchronous one it is part of the attempt
		part(Part{Span: "admission", Parent: r.IDs.Service, Begin: r.Arrived, End: t.Taken}, "admission")
	}
	part(Part{Name: "Initialization", Span: "init", Begin: t.Init.From, End: t.Init.To, Fate: Fate{Error: t.Init.Failed}}, "initialization")
	part(Part{Name: "Restore", Span: "restore", Begin: t.Restore.From, End: t.Restore.To, Fate: Fate{Error: t.Restore.Failed}}, "restore")
	answered := t.Responded
	if answered.IsZero() {
		answered = t.RuntimeDone
	}
	if !t.Started.IsZero() && !answered.IsZero() {
		s.Parts = append(s.Parts, Part{Name: "Invocation", Span: "invoke", ID: r.IDs.Invocation, Begin: t.Started, End: answered, Fate: fateOf(t)})
		part(Part{Name: "Overhead", Span: "overhead", Begin: answered, End: t.Ended}, "overhead")
	}
	if t.Extensions {
		part(Part{Span: "extension overhead", Begin: t.RuntimeDone, End: t.Ended}, "extensions")
	}
	return s
}

func fateOf(t *function.Timings) Fate {
	f := Fate{ErrorType: t.ErrorType}
	switch t.Status {
	case "success":
		f.ErrorType = ""
	case "failure":
		f.Fault = true
	default:
		f.Error = true
		if json.Valid(t.Cause) {
			f.Cause = t.Cause
		}
	}
	return f
}
