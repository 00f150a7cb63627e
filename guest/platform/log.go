package platform

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Level is a level of the logs. They are ordered.
type Level int

// The levels.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	ErrorLevel
	Fatal
)

// LevelOf reads a level; an empty or unknown one counts as INFO. Source: spec 4.8.
func LevelOf(s string) Level {
	switch strings.ToUpper(s) {
	case "TRACE":
		return Trace
	case "DEBUG":
		return Debug
	case "WARN", "WARNING":
		return Warn
	case "ERROR":
		return ErrorLevel
	case "FATAL", "CRITICAL":
		return Fatal
	}
	return Info
}

// Lines renders an event for a log of the Text format: no line, one, or more, each a log event with its newline.
// Source: spec 4.7.
func Lines(at time.Time, e Event) []string {
	switch e := e.(type) {
	case InitStart:
		if e.RuntimeVersion == "" || e.Phase == PhaseInvoke { // the repetition has no text line. Source: spec 1.5
			return nil
		}
		return line("INIT_START Runtime Version: %s\tRuntime Version ARN: %s\n", e.RuntimeVersion, e.RuntimeVersionARN)
	case InitReport:
		if e.Status == Success && e.InitializationType == OnDemand { // E-011, E-012
			return nil
		}
		text := fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: %s", e.Metrics.Duration.float(), e.Phase)
		return []string{text + unsuccessful("\t", e.Status, e.ErrorType) + "\n"}
	case Start:
		return line("START RequestId: %s Version: %s\n", e.RequestID, e.Version)
	case Report:
		return []string{"END RequestId: " + e.RequestID + "\n", e.text() + "\n"}
	case RestoreStart:
		if e.RuntimeVersion == "" {
			return nil
		}
		return line("RESTORE_START Runtime Version: %s\tRuntime Version ARN: %s\n", e.RuntimeVersion, e.RuntimeVersionARN)
	case RestoreReport:
		text := fmt.Sprintf("RESTORE_REPORT Restore Duration: %.2f ms", e.Metrics.Duration.float())
		return []string{text + unsuccessful("\t", e.Status, e.ErrorType) + "\n"}
	case Extension:
		text := fmt.Sprintf("EXTENSION\tName: %s\tState: %s\tEvents: [%s]", e.Name, e.State, strings.Join(e.Events, ","))
		if e.ErrorType != "" {
			text += "\tError Type: " + e.ErrorType
		}
		return []string{text + "\n"}
	case TelemetrySubscription:
		return line("TELEMETRY\tName: %s\tState: %s\tTypes: [%s]\n", e.Name, e.State, titled(e.Types))
	case LogsSubscription:
		return line("LOGS\tName: %s\tState: %s\tTypes: [%s]\n", e.Name, e.State, titled(e.Types))
	case Fault:
		if e.Timeout {
			return line("%s %s %s\n", Stamp(at), e.RequestID, e.Message)
		}
		return []string{"RequestId: " + e.RequestID + " Error: " + e.Message + "\n", e.ErrorType + "\n"}
	case Priming:
		return line("PRIMING RequestId: %s\tEvent: %s\tInvoke: %d of %d\n", e.RequestID, e.Event, e.Invoke, e.Of)
	case OutOfMemory:
		return []string{e.text() + "\n"}
	}
	return nil
}

func line(form string, args ...any) []string { return []string{fmt.Sprintf(form, args...)} }

// unsuccessful is the end of a report of something that did not succeed. A timeout has no type in text.
func unsuccessful(before, status, errorType string) string {
	switch {
	case status == Success:
		return ""
	case status == Timeout || errorType == "":
		return before + "Status: " + status
	}
	return before + "Status: " + status + "\tError Type: " + errorType
}

func (e Report) text() string {
	m := e.Metrics
	text := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t",
		e.RequestID, m.Duration.float(), m.BilledMs, m.MemorySizeMB, m.MaxMemoryUsedMB)
	if m.InitDuration != nil {
		text += fmt.Sprintf("Init Duration: %.2f ms\t", m.InitDuration.float())
	}
	if m.RestoreDuration != nil { // E-132
		text += fmt.Sprintf("Restore Duration: %.2f ms\tBilled Restore Duration: %d ms\t", m.RestoreDuration.float(), m.BilledRestoreMs)
	}
	errorType := e.ErrorType
	if e.Status == Failure {
		errorType = ""
	}
	return text + unsuccessful("", e.Status, errorType) + e.Tracing.text()
}

// text is what REPORT ends in where the invocation is recorded in a trace. It is part of the same log event.
func (t *Tracing) text() string {
	if t == nil || t.SpanID == "" {
		return ""
	}
	var root, parent string
	for member := range strings.SplitSeq(t.Value, ";") {
		if v, ok := strings.CutPrefix(member, "Root="); ok {
			root = v
		} else if v, ok := strings.CutPrefix(member, "Parent="); ok {
			parent = v
		}
	}
	return fmt.Sprintf("\nXRAY TraceId: %s\tSegmentId: %s\tSampled: true\t", root, parent)
}

func (e OutOfMemory) text() string {
	who, what := "its processes", "the runtime was killed"
	switch {
	case e.Processes == 1:
		who = "its process"
	case e.Processes > 1:
		who = fmt.Sprintf("its %d processes", e.Processes)
	}
	if e.Ended {
		what = "the environment was ended"
	}
	text := fmt.Sprintf("[thaw] Out of memory: the function has %d MB, %s held %d MB, and %s.", e.LimitMB, who, e.HeldMB, what)
	if e.Processes > 1 {
		text += " A forked child has a copy of each page that it or its parent has written to since."
	}
	return text
}

func titled(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(out, ", ")
}

// JSONLine renders an event for a log of the JSON format that wants system events of the level least and above; "" where
// there is no line. It ends in a newline.
func JSONLine(at time.Time, e Event, least Level) string {
	if _, textOnly := e.(Fault); textOnly || e.level() < least {
		return ""
	}
	return string(append(envelope(at, e.Type(), e), '\n'))
}

// envelope is what every schema puts around a record.
func envelope(at time.Time, name string, record any) []byte {
	b, err := json.Marshal(struct {
		Time   Stamp  `json:"time"`
		Type   string `json:"type"`
		Record any    `json:"record"`
	}{Stamp(at), name, record})
	if err != nil {
		panic(err) // our own types
	}
	return b
}

func byStatus(status string, success Level) Level {
	if status != Success {
		return Warn
	}
	return success
}

func (e Place) level() Level {
	if e.RuntimeVersion == "" {
		return Debug
	}
	return Info
}

func (e InitReport) level() Level {
	if e.InitializationType == OnDemand {
		return byStatus(e.Status, Debug)
	}
	return byStatus(e.Status, Info)
}

func (e InitRuntimeDone) level() Level     { return byStatus(e.Status, Debug) }
func (Start) level() Level                 { return Info }
func (e RuntimeDone) level() Level         { return byStatus(e.Status, Debug) }
func (e Report) level() Level              { return byStatus(e.Status, Info) }
func (e RestoreRuntimeDone) level() Level  { return byStatus(e.Status, Debug) }
func (e RestoreReport) level() Level       { return byStatus(e.Status, Info) }
func (TelemetrySubscription) level() Level { return Info }
func (LogsSubscription) level() Level      { return Info }
func (LogsDropped) level() Level           { return Warn }
func (Fault) level() Level                 { return Warn }
func (Priming) level() Level               { return Info }
func (OutOfMemory) level() Level           { return Warn }
func (e Extension) level() Level {
	if e.State != "Ready" {
		return Warn
	}
	return Info
}
