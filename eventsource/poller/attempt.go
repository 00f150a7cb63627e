package poller

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// attempt is one invoke with a batch, and what is to be told of it.
type attempt struct {
	outcome   eventsource.Outcome
	gone      bool // nothing answers to the function's name, or the server leaves: the batch stays as it is
	requestID string
	response  *eventsource.Response
	answer    []byte
}

// traceOf is the trace header that a batch brings: that of its first record with one.
func traceOf(records []*eventsource.Record) string {
	for _, r := range records {
		if r.Trace != "" {
			return r.Trace
		}
	}
	return ""
}

// invoke has the function run with an event, in the trace of who sent it.
func (s *session) invoke(event []byte, trace string) (a attempt) {
	a.requestID = uuid.NewString()
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	r, err := s.s.o.Invoker.Invoke(s.s.hard, &invoke.Request{Function: s.m.Function, Qualifier: s.m.Qualifier,
		Invocation: function.Invocation{RequestID: a.requestID, InvokedARN: s.m.FunctionARN(), TraceID: trace, Event: event}})
	var restore *pool.RestoreFailedError
	switch {
	case err == nil:
		a.answer = r.Payload
		a.outcome = eventsource.Outcome{Ending: eventsource.Answered, Answer: r.Payload}
		if r.FunctionError != "" {
			a.outcome.Ending = eventsource.Erred
		}
		a.response = &eventsource.Response{Status: 200, Version: r.Version.Number, Error: r.FunctionError}
	case errors.Is(err, invoke.ErrStopping), errors.Is(err, pool.ErrClosed), s.s.hard.Err() != nil:
		a.gone = true
	case errors.As(err, new(*invoke.NotFoundError)):
		a.gone = true
		s.o.tell(eventsource.FunctionGone, err)
	case errors.As(err, new(*invoke.RecursionError)): // the loop ends here: what failed so often goes where failures go
		a.outcome.Ending = eventsource.Erred
		s.s.o.Log.Warn("event source mapping: a loop was stopped", "mapping", s.m.ID, "fn", s.m.Function.Name, "error", err)
	case errors.As(err, &restore): // the function's own hook
		a.outcome.Ending = eventsource.Erred
		a.response = &eventsource.Response{Status: 200, Version: function.VersionNumber(s.m.Qualifier), Error: "Unhandled"}
	default:
		a.outcome.Ending = eventsource.Refused
		if !errors.As(err, new(*pool.ThrottledError)) {
			s.s.o.Log.Warn("event source mapping: the function could not be run", "mapping", s.m.ID, "fn", s.m.Function.Name, "error", err)
		}
	}
	return a
}

// tellResult says in LastProcessingResult, and to the metrics, how a batch ended.
func (s *session) tellResult(a attempt, n int, v *eventsource.Verdict) {
	s.o.kept.last.Store(&Ended{At: time.Now(), Records: n, Done: len(v.Done), RequestID: a.requestID})
	switch {
	case a.outcome.Ending == eventsource.Refused:
		s.o.kept.note(OfCapacity, "The function was throttled or could not be run. The batch is tried again.", nil)
		s.o.result("PROBLEM: Function call failed: it was throttled or could not be run. The batch is tried again.")
		return
	case len(v.Done) == n:
		s.delivered.Store(true)
		s.s.o.Metrics.Invoked(s.m, n)
		s.o.result(fine)
	default:
		s.s.o.Metrics.Invoked(s.m, n)
		s.s.o.Metrics.FailedInvoke(s.m, n-len(v.Done))
		s.o.kept.note(OfFunction, a.failure(n-len(v.Done), n), nil)
		s.o.result("PROBLEM: Function call failed")
	}
}

// settling is the time that what follows from an invoke may take when the server leaves.
func (s *session) settling() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.s.hard, time.Minute)
}
