package execenv

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// LogSink takes what ends up in the environment's log stream; message keeps its trailing newline. It must not block.
type LogSink interface {
	Append(at time.Time, message string)
	// Room returns a channel that is closed when there is room for wire.LogWindow more, or soon afterwards where there
	// is no hope of it.
	Room() <-chan struct{}
}

// phase of an Init, as the lines spell it.
const (
	phaseInit   = "init"
	phaseInvoke = "invoke"
)

// Words of the Status field. Source: spec 4.5.
const (
	statusSuccess = "success"
	statusError   = "error"
	statusTimeout = "timeout"
)

// line writes one platform line: text as it is, or the JSON event of the same fact where the function logs JSON and the level is wanted.
func (d *driver) line(text, eventType, level string, record any) {
	now := time.Now()
	if d.o.Version.LogFormat != "JSON" {
		if text != "" {
			d.write(now, text)
		}
		return
	}
	if eventType == "" || levelRank(level) < levelRank(d.o.Version.SysLogLevel) {
		return
	}
	b, err := json.Marshal(struct {
		Time   string `json:"time"`
		Type   string `json:"type"`
		Record any    `json:"record"`
	}{now.UTC().Format("2006-01-02T15:04:05.000Z"), eventType, record})
	if err != nil {
		return
	}
	d.write(now, string(b)+"\n")
}

func (d *driver) write(at time.Time, text string) {
	d.o.Sink.Append(at, text)
	if d.attempt != nil { // also what an Init inside the invoke says before START: why it failed, for one
		d.attempt.tail.add(text)
	}
}

// levelRank orders log levels; an empty or unknown one counts as INFO. Source: spec 4.8.
func levelRank(level string) int {
	switch strings.ToUpper(level) {
	case "TRACE":
		return 0
	case "DEBUG":
		return 1
	case "WARN", "WARNING":
		return 3
	case "ERROR":
		return 4
	case "FATAL", "CRITICAL":
		return 5
	}
	return 2
}

// appLine writes what the function printed, unless its level is filtered. Source: spec 4.8, E-119.
func (d *driver) appLine(at time.Time, text, level string, isJSON bool) {
	v := d.o.Version
	if v.LogFormat == "JSON" && v.AppLogLevel != "" {
		if level == "" && strings.HasPrefix(text, "{") {
			var probe struct {
				Level string `json:"level"`
			}
			if json.Unmarshal([]byte(text), &probe) == nil {
				level = probe.Level
			}
		}
		if levelRank(level) < levelRank(v.AppLogLevel) {
			return
		}
	}
	d.write(at, text)
	d.hear(text)
}

func (d *driver) runtimeVersionARN() string {
	return fmt.Sprintf("arn:%s:lambda:%s::runtime:%s", d.o.Version.Partition, d.o.Version.Region, d.o.Launch.ReleaseHash)
}

func (d *driver) lineInitStart() {
	v := d.o.Version
	rec := map[string]any{"initializationType": d.initType(), "phase": d.phase, "functionName": v.Name, "functionVersion": v.Number,
		"instanceId": string(d.id), "instanceMaxMemory": int64(v.MemoryMiB) << 20}
	level, text := "DEBUG", ""
	if d.o.Launch.Release != "" {
		level = "INFO"
		rec["runtimeVersion"], rec["runtimeVersionArn"] = d.o.Launch.Release, d.runtimeVersionARN()
		text = fmt.Sprintf("INIT_START Runtime Version: %s\tRuntime Version ARN: %s\n", d.o.Launch.Release, d.runtimeVersionARN())
	}
	if d.phase == phaseInvoke {
		text = "" // the repetition has no text line. Source: spec 1.5
	}
	d.line(text, "platform.initStart", level, rec)
}

func (d *driver) lineInitDone(took time.Duration, status, errType string) {
	level, text := "DEBUG", ""
	if status == statusSuccess && (d.o.Make != nil || d.o.Provisioned) { // E-012
		level, text = "INFO", fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: %s\n", ms(took), d.phase)
	}
	if status != statusSuccess {
		level = "WARN"
		text = fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: %s\tStatus: %s", ms(took), d.phase, status)
		if errType != "" {
			text += "\tError Type: " + errType
		}
		text += "\n"
	}
	rec := map[string]any{"initializationType": d.initType(), "phase": d.phase, "status": status}
	if status != statusSuccess {
		if errType == "" {
			errType = "Runtime.Unknown" // a pure timeout. Source: spec 1.5
		}
		rec["errorType"] = errType
	}
	d.line("", "platform.initRuntimeDone", level, rec)
	rec["metrics"] = map[string]any{"durationMs": ms3(took)}
	d.line(text, "platform.initReport", level, rec)
}

func (d *driver) lineStart() {
	a := d.attempt
	rec := map[string]any{"requestId": a.RequestID, "version": d.o.Version.Number}
	if a.TraceID != "" {
		rec["tracing"] = map[string]any{"type": "X-Amzn-Trace-Id", "value": a.TraceID}
	}
	d.line(fmt.Sprintf("START RequestId: %s Version: %s\n", a.RequestID, d.o.Version.Number), "platform.start", "INFO", rec)
}

// lineFatal writes the text lines of an invocation that the platform failed. Source: spec 1.7, 4.7.
func (d *driver) lineFatal(message, errType string) {
	if d.o.Version.LogFormat == "JSON" {
		return // the events carry it
	}
	now := time.Now()
	if errType == errTimedOut {
		d.write(now, fmt.Sprintf("%s %s %s\n", now.UTC().Format("2006-01-02T15:04:05.000Z"), d.attempt.RequestID, message))
		return
	}
	d.write(now, fmt.Sprintf("RequestId: %s Error: %s\n", d.attempt.RequestID, message))
	d.write(now, errType+"\n")
}

// lineReport writes END and REPORT. billed adds the Init that this invocation paid for.
// Source: spec 1.11, 4.7.
func (d *driver) lineReport(took time.Duration) {
	a := d.attempt
	billed := took
	if !d.initReported {
		billed += d.initTook + d.restoreBilled
	}
	if a.priming != nil {
		billed = 0
	}
	used := d.maxMemory >> 20
	text := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t",
		a.RequestID, ms(took), ceilMs(billed), d.o.Version.MemoryMiB, used)
	metrics := map[string]any{"durationMs": ms3(took), "billedDurationMs": ceilMs(billed), "memorySizeMB": d.o.Version.MemoryMiB, "maxMemoryUsedMB": used}
	if d.initTook > 0 && !d.initReported {
		d.initReported = true
		text += fmt.Sprintf("Init Duration: %.2f ms\t", ms(d.initTook))
		metrics["initDurationMs"] = ms3(d.initTook)
	}
	if d.restoreTook > 0 && !d.initReported { // E-132
		d.initReported = true
		text += fmt.Sprintf("Restore Duration: %.2f ms\tBilled Restore Duration: %d ms\t", ms(d.restoreTook), ceilMs(d.restoreBilled))
		metrics["restoreDurationMs"] = ms3(d.restoreTook)
	}
	level := "INFO"
	rec := map[string]any{"requestId": a.RequestID, "status": a.status, "metrics": metrics}
	done := map[string]any{"requestId": a.RequestID, "status": a.status, "metrics": map[string]any{"durationMs": ms3(took), "producedBytes": a.produced}}
	doneLevel := "DEBUG"
	if a.status != statusSuccess {
		level, doneLevel = "WARN", "WARN"
		text += "Status: " + a.status
		if a.errType != "" && a.status == statusError {
			text += "\tError Type: " + a.errType
			rec["errorType"], done["errorType"] = a.errType, a.errType
		}
	}
	d.line(fmt.Sprintf("END RequestId: %s\n", a.RequestID), "platform.runtimeDone", doneLevel, done)
	d.line(text+"\n", "platform.report", level, rec)
}

func ms(d time.Duration) float64  { return float64(d) / float64(time.Millisecond) }
func ms3(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ceilMs(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
