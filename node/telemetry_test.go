package node

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// subscribed makes words by which the test's extension subscribes.
func subscribed(schema, kinds, protocol string) string {
	return "telemetry=" + schema + ":" + kinds + ":" + protocol
}

// told are the events that the extension said it was told.
func (f *deployed) told(want ...string) []string {
	f.t.Helper()
	var out []string
	for _, l := range f.logs(want...) {
		if _, e, ok := strings.Cut(l, "told: "); ok {
			out = append(out, e)
		}
	}
	return out
}

// TestTelemetry holds E-106, E-107, E-111 and E-118: what a subscriber hears of an Init, invocations that end well and
// badly, in both protocols.
func TestTelemetry(t *testing.T) {
	for _, protocol := range []string{"HTTP", "TCP"} {
		t.Run(protocol, func(t *testing.T) {
			eachSandbox(t, func(t *testing.T, s *server) {
				f := s.js(quickFunction, timeout(4), s.withExtensions(map[string]string{
					"x": "silent events=INVOKE,SHUTDOWN works=100ms " + subscribed("2022-12-13", "platform+function", protocol)}))
				f.invoke(`{}`).ok(t)
				f.logs("REPORT RequestId: ") // or the next one runs in another environment
				f.invoke(`{}`).ok(t)         // in which arrives what of the first was late, and the first report
				heard := f.told(`"platform.runtimeDone"`)
				// The function's output and the subscription may come in any order: the runtime starts meanwhile.
				order(t, heard, `"platform.initStart"`, "loaded", `"platform.initRuntimeDone"`)
				order(t, heard, `"platform.initStart"`, `"platform.telemetrySubscription","record":{"name":"x","state":"Subscribed","types":["platform","function"]}`,
					`"platform.initRuntimeDone"`, `"platform.extension","record":{"name":"x","state":"Ready","events":["INVOKE","SHUTDOWN"]}`,
					`"platform.initReport"`, `"platform.start"`, `"platform.runtimeDone"`, `"status":"success"`, `"responseLatency"`)
				f.told(`"extensionOverhead"`, `"initDurationMs"`)
				f.invoke(`{"wait":60000}`).failed(t, "Sandbox.Timedout", "")
				order(t, f.logs("SHUTDOWN TIMEOUT"), `"type":"platform.runtimeDone"`, `"status":"timeout","metrics":{"durationMs":4000`, "[x] SHUTDOWN TIMEOUT")
				f.logs("TELEMETRY\tName: x\tState: Subscribed\tTypes: [Platform, Function]\n")
				f.invoke(`{}`).ok(t)
			})
		})
	}
}

// TestLogsAPI: the same by the API of before.
func TestLogsAPI(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{
			"x": "silent events=INVOKE works=100ms " + subscribed("2021-03-18", "platform+function", "Logs")}))
		f.invoke(`{}`).ok(t)
		f.logs("REPORT RequestId: ") // or the next one runs in another environment
		f.invoke(`{}`).ok(t)
		heard := f.told(`"platform.end"`, `"platform.report"`)
		order(t, heard, `"platform.logsSubscription"`, `"platform.extension"`, `"platform.start"`, `"platform.runtimeDone"`, `"platform.end"`, `"platform.report"`)
		order(t, heard, "loaded", `"platform.start"`) // before the subscription or after it: the runtime starts meanwhile
		f.logs("LOGS\tName: x\tState: Subscribed\tTypes: [Platform, Function]\n")
	})
}

// TestTelemetrySubscribedTwice: the second subscription takes the first one's place, so each event comes once. What an
// extension sends besides that no API knows is refused, and disturbs nobody.
func TestTelemetrySubscribedTwice(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{
			"x": "events=INVOKE works=100ms garbage twice " + subscribed("2022-12-13", "platform+function", "HTTP"), "y": "events=INVOKE"}))
		f.invoke(`{}`).ok(t)
		f.logs("REPORT RequestId: ")
		f.invoke(`{}`).ok(t)
		f.told(`"platform.report"`)
		log := f.logs("TELEMETRY\tName: x\tState: Already subscribed\tTypes: [Platform, Function]\n", "[x] garbage 400 400 403 404 400\n")
		order(t, log, "[x] subscribed 200 \"OK\"\n", "[x] subscribed 200 \"OK\"\n")
		for _, event := range []string{`"platform.initStart"`, `"platform.initReport"`, `\tloaded\n"`} {
			n := 0
			for _, e := range f.told(event) {
				n += strings.Count(e, event)
			}
			if n != 1 {
				t.Errorf("the extension heard %d times of %s", n, event)
			}
		}
	})
}

// TestTelemetryThatNobodyTakes holds E-112: a subscriber that does not answer, or does not listen at all, delays nobody.
func TestTelemetryThatNobodyTakes(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(quickFunction, s.withExtensions(map[string]string{
			"x": "events=INVOKE " + subscribed("2022-12-13", "platform+function+extension", "Slow"),
			"y": "events=INVOKE " + subscribed("2022-12-13", "platform+function+extension", "Dead")}))
		f.invoke(`{}`).ok(t)
		began := time.Now()
		for range 20 {
			f.invoke(`{}`).ok(t)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("20 invocations took %v", took)
		}
	})
}

// TestTelemetrySnapStart: a subscription lives in a snapshot, and its copies hear of their restore.
func TestTelemetrySnapStart(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(quickFunction, snapStart, s.withExtensions(map[string]string{
		"x": "silent events=INVOKE works=100ms " + subscribed("2022-12-13", "platform", "HTTP")}))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("version is %s: %s", c.State, aws.ToString(c.StateReason))
	}
	f.invokeVersion("1", `{}`).ok(t)
	f.invokeVersion("1", `{}`).ok(t)
	order(t, f.told(`"restoreDurationMs"`), `"platform.restoreStart"`, `"platform.restoreRuntimeDone"`, `"platform.restoreReport"`, `"platform.start"`, `"platform.runtimeDone"`, `"platform.report"`)
}

// TestJSONLogs holds E-117, E-118 and E-119: levels decide what the log has, and telemetry has everything.
func TestJSONLogs(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`exports.handler = async () => { process.stdout.write('{"level":"debug","msg":"quiet"}\n{"level":"error","msg":"loud"}\n'); return 1 }`,
			s.withExtensions(map[string]string{"x": "silent events=INVOKE works=100ms " + subscribed("2022-12-13", "platform+function", "HTTP")}),
			func(in *lambda.CreateFunctionInput) {
				in.LoggingConfig = &types.LoggingConfig{LogFormat: types.LogFormatJson, ApplicationLogLevel: types.ApplicationLogLevelInfo, SystemLogLevel: types.SystemLogLevelInfo}
			})
		f.invoke(`{}`).ok(t)
		f.invoke(`{}`).ok(t)
		f.told(`"record":{"level":"debug","msg":"quiet"}`, `"platform.runtimeDone"`, `"platform.report"`)
		for _, l := range f.logs(`{"level":"error","msg":"loud"}`) {
			if strings.HasPrefix(l, `{"level":"debug"`) || strings.HasPrefix(l, `{"time"`) && strings.Contains(l, `"platform.runtimeDone"`) {
				t.Errorf("the log has %s", l)
			}
		}
	})
}
