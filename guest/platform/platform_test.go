package platform

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"thaw/internal/golden"
)

var at = time.Date(2026, 1, 12, 10, 0, 0, 123_456_789, time.UTC)

func every() []Event {
	init, restore := Millis(479_514_900), Millis(706480*time.Microsecond)
	place := Place{FunctionName: "f", FunctionVersion: "7", RuntimeVersion: "nodejs:22.v40", RuntimeVersionARN: "arn:r", InstanceID: "i", InstanceMaxMemory: 134217728}
	return []Event{
		InitStart{OnDemand, PhaseInit, place},
		InitStart{OnDemand, PhaseInvoke, place},
		InitStart{OnDemand, PhaseInit, Place{FunctionName: "f", FunctionVersion: "7"}},
		InitRuntimeDone{OnDemand, PhaseInit, Success, ""},
		InitReport{OnDemand, PhaseInit, Success, "", Duration{init}},
		InitReport{SnapStart, PhaseInit, Success, "", Duration{init}},
		InitReport{OnDemand, PhaseInit, Timeout, "Runtime.Unknown", Duration{init}},
		InitReport{OnDemand, PhaseInvoke, Error, "Runtime.ImportModuleError", Duration{init}},
		Start{"id", "$LATEST", Traced("", "Root=1-2-3"), ""},
		Start{"id", "$LATEST", Traced("f", "Root=1-2-3;Parent=s;Sampled=1"), ""},
		Start{"id", "7", nil, "blue"},
		RuntimeDone{"id", Success, "", RuntimeMetrics{Millis(2340 * time.Microsecond), 16},
			[]Span{{"responseLatency", Stamp(at), Millis(2 * time.Millisecond)}}, Traced("", "Root=1-2-3"), ""},
		RuntimeDone{RequestID: "id", Status: Error, ErrorType: "Runtime.ExitError", TenantID: "blue"},
		Report{"id", Success, "", Metrics{Millis(2340 * time.Microsecond), 3, 128, 64, &init, nil, 0}, nil, nil, "blue"},
		Report{"id", Success, "", Metrics{Millis(2290 * time.Microsecond), 176, 1024, 100, nil, &restore, 174}, []Span{{"extensionOverhead", Stamp(at), 0}}, nil, ""},
		Report{"id", Success, "", Metrics{Millis(2340 * time.Microsecond), 3, 128, 64, nil, nil, 0}, nil, Traced("i", "Root=1-2-3;Parent=f;Sampled=1"), ""},
		Report{"id", Error, "Runtime.ExitError", Metrics{Duration: Millis(98710 * time.Microsecond), BilledMs: 99, MemorySizeMB: 512, MaxMemoryUsedMB: 46}, nil, nil, ""},
		Report{"id", Timeout, "Sandbox.Timedout", Metrics{Duration: Millis(3 * time.Second), BilledMs: 3000, MemorySizeMB: 128, MaxMemoryUsedMB: 40}, nil, nil, ""},
		Report{"id", Failure, "Sandbox.Failure", Metrics{}, nil, nil, ""},
		RestoreStart{place},
		RestoreRuntimeDone{Success, ""},
		RestoreReport{Success, "", Duration{restore}},
		RestoreReport{Timeout, "Runtime.Unknown", Duration{restore}},
		RestoreReport{Error, "Runtime.ExitError", Duration{restore}},
		Extension{"x", "Ready", []string{"INVOKE", "SHUTDOWN"}, ""},
		Extension{"x", "InitError", []string{}, "Extension.Foo"},
		TelemetrySubscription{"x", "Subscribed", []string{"platform", "function"}},
		LogsSubscription{"x", "Subscribed", []string{"platform"}},
		LogsDropped{"consumer too slow", 120, 53000},
		Fault{"id", "Task timed out after 3.00 seconds", "Sandbox.Timedout", true},
		Fault{"id", "Runtime exited with error: exit status 1", "Runtime.ExitError", false},
		Priming{"id", "warm", 1, 2},
		OutOfMemory{128, 139, 1, false},
		OutOfMemory{128, 171, 7, false},
		OutOfMemory{128, 201, 0, true},
	}
}

// TestEveryRendering holds every form of every event: the lines of 4.7, the levels of 4.8, the records of 4.2 and 4.4.
// E-110, E-113, E-132.
func TestEveryRendering(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, e := range every() {
		fmt.Fprintf(&out, "%s, level %d\n", e.Type(), e.level())
		for _, l := range Lines(at, e) {
			fmt.Fprintf(&out, "  text       %q\n", l)
		}
		if l := JSONLine(at, e, Trace); l != "" {
			fmt.Fprintf(&out, "  json       %s", l)
		}
		for _, s := range []Schema{Telemetry2022July, Telemetry2022December, Telemetry2025, Logs2020, Logs2021} {
			for _, r := range Records(s, at, e) {
				fmt.Fprintf(&out, "  %s %s\n", s, r)
			}
		}
	}
	golden.Equal(t, "testdata/events.golden", out.String())
}

func TestAnEventTravels(t *testing.T) {
	t.Parallel()
	for _, e := range every() {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(e.Type(), b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(b) || reflect.TypeOf(back) != reflect.TypeOf(e) {
			t.Errorf("%s came back as %s %v", b, again, err)
		}
		packed := Encoded{e.Type(), b}
		for _, s := range []Schema{Telemetry2022July, Telemetry2022December, Telemetry2025, Logs2020, Logs2021} {
			if got, want := Records(s, at, packed), Records(s, at, e); !reflect.DeepEqual(got, want) || packed.level() != e.level() {
				t.Errorf("%s, packed: %q, want %q", s, got, want)
			}
		}
	}
	if _, err := Decode("platform.none", nil); err == nil {
		t.Error("an unknown type was decoded")
	}
}

// TestLevels: what a log that wants WARN and above gets.
func TestLevels(t *testing.T) {
	t.Parallel()
	for e, want := range map[Event]bool{
		&Start{}: false, &Report{Status: Success}: false, &Report{Status: Timeout}: true, &Extension{State: "Ready"}: false, &Extension{State: "ExitError"}: true,
	} {
		if got := JSONLine(at, e, Warn) != ""; got != want {
			t.Errorf("%+v: written %v, want %v", e, got, want)
		}
	}
	for word, want := range map[string]Level{"trace": Trace, "warning": Warn, "": Info, "nonsense": Info, "critical": Fatal} {
		if got := LevelOf(word); got != want {
			t.Errorf("%q is level %d, want %d", word, got, want)
		}
	}
}

// TestLinesOfOutput holds E-108 and E-109.
func TestLinesOfOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema Schema
		text   string
		json   bool
		want   string
	}{
		{Telemetry2022July, "{\"a\":1}\n", true, `"{\"a\":1}\n"`},
		{Telemetry2022December, "{\"a\":1}\n", true, `{"a":1}`},
		{Telemetry2025, "{\"a\":1}\n", true, `{"a":1}`},
		{Telemetry2022December, "{\"a\":1}\n", false, `"{\"a\":1}\n"`},
		{Telemetry2022December, "{broken\n", true, `"{broken\n"`},
		{Logs2021, "{\"a\":1}\n", true, `"{\"a\":1}\n"`},
	} {
		want := `{"time":"2026-01-12T10:00:00.123Z","type":"function","record":` + c.want + `}`
		if got := string(Line(c.schema, at, "function", c.text, c.json)); got != want {
			t.Errorf("%s %q: got %s, want %s", c.schema, c.text, got, want)
		}
	}
}
