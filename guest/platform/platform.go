// Package platform holds what the platform says about an execution environment: one type per event of AWS's telemetry schema.
//
// An event is a value. The driver of the environment makes it; this package alone renders it: as text lines and as a JSON
// line of the log (log.go), and as a record of each schema of the Telemetry and Logs APIs (telemetry.go). The JSON form of a
// type is its record in the newest schema, which is also how it travels to the guest.
//
// Source: Lambda Developer Guide, Telemetry API event schema; spec 4.2, 4.4 to 4.8.
package platform

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Event is one of the types below.
type Event interface {
	// Type is the name of the event in every schema.
	Type() string
	// level is that of the system log. Source: spec 4.8, table of system levels.
	level() Level
}

// Words of status members. Source: spec 4.5.
const (
	Success = "success"
	Error   = "error"   // the function's fault
	Failure = "failure" // the platform's
	Timeout = "timeout"
)

// Values of initializationType and phase. Source: spec 4.5.
const (
	OnDemand    = "on-demand"
	Provisioned = "provisioned-concurrency"
	SnapStart   = "snap-start"

	PhaseInit   = "init"
	PhaseInvoke = "invoke"
)

// Millis is a duration that JSON has in milliseconds with three decimals.
type Millis time.Duration

// MarshalJSON is json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Duration(m).Microseconds())/1000, 'f', -1, 64), nil
}

// UnmarshalJSON is json.Unmarshaler.
func (m *Millis) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("milliseconds %q: %w", b, err)
	}
	*m = Millis(f * float64(time.Millisecond))
	return nil
}

func (m Millis) float() float64 { return float64(m) / float64(time.Millisecond) }

// Stamp is a time as every schema writes it: UTC with milliseconds.
type Stamp time.Time

const stampForm = "2006-01-02T15:04:05.000Z"

func (s Stamp) String() string { return time.Time(s).UTC().Format(stampForm) }

// MarshalJSON is json.Marshaler.
func (s Stamp) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// UnmarshalJSON is json.Unmarshaler.
func (s *Stamp) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, (*time.Time)(s))
}

// Tracing is the trace context of an invocation.
type Tracing struct {
	SpanID string `json:"spanId,omitempty"` // of the segment that the event is about, where there is one
	Type   string `json:"type"`
	Value  string `json:"value"`
}

// Traced makes a trace context of a header; span may be empty.
func Traced(span, header string) *Tracing {
	return &Tracing{span, "X-Amzn-Trace-Id", header}
}

// Span is a part of an invocation. Names: responseLatency, responseDuration, runtimeOverhead, extensionOverhead.
type Span struct {
	Name     string `json:"name"`
	Start    Stamp  `json:"start"`
	Duration Millis `json:"durationMs"`
}

// Duration is the metrics member of Init and Restore reports.
type Duration struct {
	Duration Millis `json:"durationMs"`
}

// InitStart begins an Init.
type InitStart struct {
	InitializationType string `json:"initializationType"`
	Phase              string `json:"phase"`
	Place
}

// Place says what an environment runs.
type Place struct {
	FunctionName      string `json:"functionName"`
	FunctionVersion   string `json:"functionVersion"`
	RuntimeVersion    string `json:"runtimeVersion,omitempty"`
	RuntimeVersionARN string `json:"runtimeVersionArn,omitempty"`
	InstanceID        string `json:"instanceId,omitempty"`
	InstanceMaxMemory int64  `json:"instanceMaxMemory,omitempty"` // bytes
}

// InitRuntimeDone: the runtime is done with its Init, or never will be.
type InitRuntimeDone struct {
	InitializationType string `json:"initializationType"`
	Phase              string `json:"phase"`
	Status             string `json:"status"`
	ErrorType          string `json:"errorType,omitempty"`
}

// InitReport ends an Init.
type InitReport struct {
	InitializationType string   `json:"initializationType"`
	Phase              string   `json:"phase"`
	Status             string   `json:"status,omitempty"`
	ErrorType          string   `json:"errorType,omitempty"`
	Metrics            Duration `json:"metrics"`
}

// Start begins an invocation.
type Start struct {
	RequestID string   `json:"requestId"`
	Version   string   `json:"version"`
	Tracing   *Tracing `json:"tracing,omitempty"`
	TenantID  string   `json:"tenantId,omitempty"`
}

// RuntimeDone: the runtime called next after an invocation, or never will.
type RuntimeDone struct {
	RequestID string         `json:"requestId"`
	Status    string         `json:"status"`
	ErrorType string         `json:"errorType,omitempty"`
	Metrics   RuntimeMetrics `json:"metrics"`
	Spans     []Span         `json:"spans,omitempty"`
	Tracing   *Tracing       `json:"tracing,omitempty"`
	TenantID  string         `json:"tenantId,omitempty"`
}

// RuntimeMetrics are those of RuntimeDone.
type RuntimeMetrics struct {
	Duration      Millis `json:"durationMs"`
	ProducedBytes int64  `json:"producedBytes"`
}

// Report ends an invocation.
type Report struct {
	RequestID string   `json:"requestId"`
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType,omitempty"`
	Metrics   Metrics  `json:"metrics"`
	Spans     []Span   `json:"spans,omitempty"`
	Tracing   *Tracing `json:"tracing,omitempty"`
	TenantID  string   `json:"tenantId,omitempty"`
}

// Metrics are those of Report.
type Metrics struct {
	Duration        Millis  `json:"durationMs"`
	BilledMs        int64   `json:"billedDurationMs"`
	MemorySizeMB    int     `json:"memorySizeMB"`
	MaxMemoryUsedMB int64   `json:"maxMemoryUsedMB"`
	InitDuration    *Millis `json:"initDurationMs,omitempty"`
	RestoreDuration *Millis `json:"restoreDurationMs,omitempty"`
	BilledRestoreMs int64   `json:"-"` // of the text line; no schema has it
}

// RestoreStart begins a restore.
type RestoreStart struct{ Place }

// RestoreRuntimeDone: the after-restore hooks are done, or never will be.
type RestoreRuntimeDone struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType,omitempty"`
}

// RestoreReport ends a restore.
type RestoreReport struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType,omitempty"`
	Metrics   Duration `json:"metrics"`
}

// Extension says how an extension came out of Init.
type Extension struct {
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Events    []string `json:"events"`
	ErrorType string   `json:"errorType,omitempty"`
}

// TelemetrySubscription: an extension subscribed to the Telemetry API.
type TelemetrySubscription struct {
	Name  string   `json:"name"`
	State string   `json:"state"`
	Types []string `json:"types"`
}

// LogsSubscription: an extension subscribed to the Logs API.
type LogsSubscription struct {
	Name  string   `json:"name"`
	State string   `json:"state"`
	Types []string `json:"types"`
}

// LogsDropped tells a subscriber what it was too slow for.
type LogsDropped struct {
	Reason  string `json:"reason"`
	Records int64  `json:"droppedRecords"`
	Bytes   int64  `json:"droppedBytes"`
}

// Fault says in plain text why the platform failed an invocation. It has no JSON line: RuntimeDone and Report carry it.
type Fault struct {
	RequestID string `json:"requestId"`
	Message   string `json:"message"`
	ErrorType string `json:"errorType"`
	Timeout   bool   `json:"timeout,omitempty"` // the message is about the function's timeout
}

// Priming says that the invocation that follows is no caller's: it primes a snapshot. It is ours; AWS has none.
type Priming struct {
	RequestID string `json:"requestId"`
	Event     string `json:"event"`
	Invoke    int    `json:"invoke"`
	Of        int    `json:"of"`
}

// OutOfMemory says what was there when the memory limit ended the runtime: the exit of what was killed does not. It is
// ours; AWS has none.
type OutOfMemory struct {
	LimitMB   int   `json:"limitMB"`
	HeldMB    int64 `json:"heldMB"`
	Processes int   `json:"processes,omitempty"` // 0: nobody could count them
	Ended     bool  `json:"ended,omitempty"`     // the environment ended with the runtime
}

func (InitStart) Type() string             { return "platform.initStart" }
func (InitRuntimeDone) Type() string       { return "platform.initRuntimeDone" }
func (InitReport) Type() string            { return "platform.initReport" }
func (Start) Type() string                 { return "platform.start" }
func (RuntimeDone) Type() string           { return "platform.runtimeDone" }
func (Report) Type() string                { return "platform.report" }
func (RestoreStart) Type() string          { return "platform.restoreStart" }
func (RestoreRuntimeDone) Type() string    { return "platform.restoreRuntimeDone" }
func (RestoreReport) Type() string         { return "platform.restoreReport" }
func (Extension) Type() string             { return "platform.extension" }
func (TelemetrySubscription) Type() string { return "platform.telemetrySubscription" }
func (LogsSubscription) Type() string      { return "platform.logsSubscription" }
func (LogsDropped) Type() string           { return "platform.logsDropped" }
func (Fault) Type() string                 { return "platform.fault" }
func (Priming) Type() string               { return "platform.priming" }
func (OutOfMemory) Type() string           { return "platform.outOfMemory" }

// Decode makes an event of what json.Marshal made of one.
func Decode(name string, b []byte) (Event, error) {
	switch name {
	case InitStart{}.Type():
		return decode[InitStart](b)
	case InitRuntimeDone{}.Type():
		return decode[InitRuntimeDone](b)
	case InitReport{}.Type():
		return decode[InitReport](b)
	case Start{}.Type():
		return decode[Start](b)
	case RuntimeDone{}.Type():
		return decode[RuntimeDone](b)
	case Report{}.Type():
		return decode[Report](b)
	case RestoreStart{}.Type():
		return decode[RestoreStart](b)
	case RestoreRuntimeDone{}.Type():
		return decode[RestoreRuntimeDone](b)
	case RestoreReport{}.Type():
		return decode[RestoreReport](b)
	case Extension{}.Type():
		return decode[Extension](b)
	case TelemetrySubscription{}.Type():
		return decode[TelemetrySubscription](b)
	case LogsSubscription{}.Type():
		return decode[LogsSubscription](b)
	case LogsDropped{}.Type():
		return decode[LogsDropped](b)
	case Fault{}.Type():
		return decode[Fault](b)
	case Priming{}.Type():
		return decode[Priming](b)
	case OutOfMemory{}.Type():
		return decode[OutOfMemory](b)
	}
	return nil, fmt.Errorf("platform event %q: unknown type", name)
}

func decode[E Event](b []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("platform event %s: %w", e.Type(), err)
	}
	return e, nil
}
