package platform

import (
	"encoding/json"
	"time"
)

// Schema is a version of the Telemetry API's or of the Logs API's schema.
type Schema string

// The schemas. Source: spec 4.1, 4.2.
const (
	Telemetry2022July     Schema = "2022-07-01"
	Telemetry2022December Schema = "2022-12-13"
	Telemetry2025         Schema = "2025-01-29"
	Logs2020              Schema = "2020-08-15"
	Logs2021              Schema = "2021-03-18"
)

// notTelemetry are the events that no schema of the Telemetry API has.
var notTelemetry = map[string]bool{Fault{}.Type(): true, Priming{}.Type(): true, OutOfMemory{}.Type(): true, LogsSubscription{}.Type(): true}

// Records renders an event for a subscriber of the schema: no record, one or two, each a JSON object.
func Records(s Schema, at time.Time, e Event) [][]byte {
	if x, ok := e.(Encoded); ok {
		return x.records(s, at)
	}
	if s == Logs2020 || s == Logs2021 {
		return logsRecords(s, at, e)
	}
	if notTelemetry[e.Type()] {
		return nil
	}
	if v, ok := e.(InitReport); ok && s == Telemetry2022July {
		v.Status, v.ErrorType = "", ""
		e = v
	}
	return [][]byte{envelope(at, e.Type(), e)}
}

// logsRecords: the Logs API knows fewer events, with fewer members, and says failure where the Telemetry API says error.
func logsRecords(s Schema, at time.Time, e Event) [][]byte {
	type id struct {
		RequestID string `json:"requestId"`
	}
	switch e := e.(type) {
	case Start:
		e.Tracing = nil
		return [][]byte{envelope(at, e.Type(), e)}
	case RuntimeDone:
		if s == Logs2020 {
			return nil
		}
		status := e.Status
		if status == Error {
			status = Failure
		}
		return [][]byte{envelope(at, e.Type(), struct {
			id
			Status string `json:"status"`
		}{id{e.RequestID}, status})}
	case Report:
		return [][]byte{envelope(at, "platform.end", id{e.RequestID}), envelope(at, e.Type(), struct {
			id
			Metrics Metrics  `json:"metrics"`
			Tracing *Tracing `json:"tracing,omitempty"`
		}{id{e.RequestID}, e.Metrics, e.Tracing})}
	case Fault:
		return [][]byte{envelope(at, e.Type(), "RequestId: "+e.RequestID+" Error: "+e.Message)}
	case Extension, LogsSubscription, LogsDropped:
		return [][]byte{envelope(at, e.Type(), e)}
	}
	return nil
}

// Line renders a line of output for a subscriber: name is function or extension. Where the function logs JSON, a line that is
// a JSON object becomes one, but in the oldest schemas. E-108, E-109.
func Line(s Schema, at time.Time, name, text string, logsJSON bool) []byte {
	if logsJSON && (s == Telemetry2022December || s == Telemetry2025) {
		if trimmed := trimEnd(text); len(trimmed) > 1 && trimmed[0] == '{' && json.Valid([]byte(trimmed)) {
			return envelope(at, name, json.RawMessage(trimmed))
		}
	}
	return envelope(at, name, text)
}

func trimEnd(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r' || s[len(s)-1] == ' ') {
		s = s[:len(s)-1]
	}
	return s
}
