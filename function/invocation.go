package function

import "time"

// Invocation is one invocation, from its sender to the environment that runs it: nobody in between makes another of it.
type Invocation struct {
	RequestID     string // UUID; the sender's x-amzn-RequestId
	InvokedARN    ARN    // how the sender named the function, with the qualifier only where there was one. The function sees it
	Event         []byte // JSON
	ContentType   string // of the event; empty: application/json
	ClientContext string // JSON text, decoded from base64
	// TraceID is the trace header: as the sender gave it, and what the function gets of it from the invoker on.
	TraceID string
	// TenantID is for whom it runs; set exactly where the version is PerTenant. An environment serves one tenant.
	TenantID string
	// TraceState is the sender's W3C tracestate, for those who are told of the trace; the function does not see it.
	TraceState string
	Segments   Segments
	// Timed, when set, is told when the environment has done with the invocation. It must not block.
	Timed func(*Timings)
	Tail  bool // the outcome carries the last 4 KiB of the invocation's log; the answer waits for REPORT
	// Stream, when set, receives a streamed answer as it comes; Outcome.Payload is then empty unless the function errs
	// before its first byte. nil: the answer is collected.
	Stream StreamSink
}

// StreamSink receives a streamed response. A call may block: that is the back pressure on the function. An error ends the
// invocation's delivery, not the invocation.
type StreamSink interface {
	Head(contentType string) error
	Chunk(b []byte) error // b is valid during the call only
}

// Outcome is how an invocation ended, from the environment that ran it to its sender.
type Outcome struct {
	Payload       []byte
	ContentType   string
	FunctionError string // "" or Unhandled
	LogTail       []byte // at most 4 KiB, not encoded; only with Invocation.Tail
	Streamed      bool   // the payload went through the sink
	// How a streamed response broke off: error type and the error JSON; both empty when complete.
	StreamErrorType    string
	StreamErrorDetails string
	// Err says that the platform, not the function, ended it. The pool makes an error of it: its callers never see one here.
	Err error
}

// Segments are the ids of what is recorded of an invocation in its trace, 16 hexadecimal digits each. They are empty
// unless the function traces actively and the invocation is sampled.
type Segments struct {
	Service    string // the invocation as its sender sees it
	Function   string // what one environment did for it
	Invocation string // the handler's part of that; the function's own subsegments are below it
}

// Period is a part of an invocation; zero: there was none.
type Period struct {
	From, To time.Time
	Failed   bool
}

// Timings say when what happened to an invocation in its environment. A time is zero where it did not come to that.
type Timings struct {
	Taken       time.Time // the environment had it
	Started     time.Time // the event went to the runtime
	Responding  time.Time // the first of the answer came
	Responded   time.Time // the last of it came
	RuntimeDone time.Time // the runtime had called next, or was known not to
	Ended       time.Time // so had the extensions
	Extensions  bool      // there were some
	// Init or Restore of the environment, told with its first invocation; Init also where it was inside the invocation.
	Init, Restore Period
	Status        string // success, error, timeout, failure
	ErrorType     string
	Cause         []byte // JSON that the runtime posted with its error, for X-Ray: a sandbox wrote it
	Environment   string // its ID
}
