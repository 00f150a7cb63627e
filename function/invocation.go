package function

// Invocation is one invocation, from its sender to the environment that runs it: nobody in between makes another of it.
type Invocation struct {
	RequestID     string // UUID; the sender's x-amzn-RequestId
	InvokedARN    ARN    // how the sender named the function, with the qualifier only where there was one. The function sees it
	Event         []byte // JSON
	ContentType   string // of the event; empty: application/json
	ClientContext string // JSON text, decoded from base64
	// TraceID is the trace header as the sender gave it. Where it names no trace, the environment that takes the
	// invocation makes one.
	TraceID string
	// TenantID is for whom it runs; set exactly where the version is PerTenant. An environment serves one tenant.
	TenantID string
	Tail     bool // the outcome carries the last 4 KiB of the invocation's log; the answer waits for REPORT
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
