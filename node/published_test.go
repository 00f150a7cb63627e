package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/execenv"
	"thaw/runtimes"
)

var publishedOnce sync.Mutex

// published is the folder of something that others have published, unchanged; testdata/published.txt pins it.
func published(t testing.TB, name string) string {
	t.Helper()
	publishedOnce.Lock()
	defer publishedOnce.Unlock()
	list, err := os.ReadFile("testdata/published.txt")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "thaw", fmt.Sprintf("published-%x", sha256.Sum256(list)))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := runtimes.FetchPackages(ctx, string(list), dir); err != nil {
		if errors.As(err, new(*url.Error)) || errors.As(err, new(net.Error)) {
			t.Skip("it cannot be fetched here: ", err)
		}
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// below are the files below a folder, by the name that they have in a layer.
func below(t testing.TB, dir, in string, files map[string]string) map[string]string {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files[filepath.Join(in, rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Sentry's external extension, which its npm package has: a tunnel that sends on what the SDK beside it gives it, so that
// the function need not wait. Sentry is the function itself here.
func TestSentryExtension(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	dir := published(t, "sentry")
	files := below(t, dir, "sentry-extension", map[string]string{})
	files["extensions/sentry-extension"] = files["sentry-extension/sentry-extension"]
	f := s.js(`let got
require('http').createServer((q, r) => { let text = ''; q.on('data', d => text += d); q.on('end', () => { got = q.method + ' ' + q.url + ' ' + text; r.end('{}') }) }).listen(8123)
exports.handler = async (e) => {
	got = undefined
	const r = await fetch('http://localhost:9000/envelope', { method: 'POST', body: JSON.stringify({ dsn: e.dsn || process.env.SENTRY_DSN }) + '\n{"n":' + e.n + '}\n' })
	for (let i = 0; i < 500 && r.ok && !got; i++) await new Promise(r => setTimeout(r, 20))
	return { status: r.status, got }
}`, snapStart, withLayers(s.layer("sentry", files)), vars(map[string]string{"SENTRY_DSN": "http://key@localhost:8123/1"}))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("version is %s: %s", c.State, aws.ToString(c.StateReason))
	}
	check := func(a answer, status int, want string) {
		t.Helper()
		var got struct {
			Status int
			Got    string
		}
		if err := json.Unmarshal([]byte(a.ok(t)), &got); err != nil || got.Status != status || !strings.Contains(got.Got, want) {
			t.Errorf("%+v, %v; want %d %q", got, err, status, want)
		}
	}
	check(f.invoke(`{"n":1}`), 200, "POST /api/1/envelope/?sentry_version=7&sentry_key=key {\"dsn\"")
	check(f.invoke(`{"n":2}`), 200, `{"n":2}`)
	check(f.invoke(`{"n":3,"dsn":"http://key@elsewhere/1"}`), 403, "")
	check(f.invokeVersion("1", `{"n":4}`), 200, `{"n":4}`) // in a copy
	f.logs("EXTENSION\tName: sentry-extension\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n")
}

// The OpenTelemetry extension of the Serverless Framework, as its npm package has it, a layer's zip: an external
// extension on AWS's sample for Node, which subscribes to the Logs API, and an exec wrapper that instruments the function.
// It prints what it would send: a trace of each invocation, and the numbers of its REPORT.
func TestServerlessOTelExtension(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	pkg, err := os.ReadFile(filepath.Join(published(t, "otel"), "extension.zip"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.client.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{LayerName: aws.String("otel"), Content: &types.LayerVersionContentInput{ZipFile: pkg}})
	if err != nil {
		t.Fatal(err)
	}
	f := s.js(`exports.handler = async (e) => ({ n: e.n })`, memory(512), withLayers(*l.LayerVersionArn),
		vars(map[string]string{"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-extension/otel-handler", "SLS_OTEL_REPORT_TYPE": "json"}))
	for n := range 2 {
		if got, want := f.invoke(fmt.Sprintf(`{"n":%d}`, n)).ok(t), fmt.Sprintf(`{"n":%d}`, n); got != want {
			t.Errorf("answer %s, want %s", got, want)
		}
		f.logs("REPORT RequestId: ") // or the next one runs in another environment, and this one hears of no report
	}
	all := strings.Join(f.logs("LOGS\tName: otel-extension\tState: Subscribed\tTypes: [", "EXTENSION\tName: otel-extension\tState: Ready\tEvents: [INVOKE,SHUTDOWN]\n"), "")
	report := regexp.MustCompile(`REPORT RequestId: (\S+)\tDuration: (\S+) ms`).FindStringSubmatch(all)
	if report == nil {
		t.Fatalf("no REPORT in\n%s", all)
	}
	// The first invocation's span, then its numbers as platform.report had them, with a decimal more.
	heard := f.logs(`"name":"faas.duration"`)
	order(t, heard, `[{"resourceSpans":[`, `"name":"@opentelemetry/instrumentation-aws-lambda"`, `{"key":"faas.execution","value":{"stringValue":"`+report[1]+`"}}`, `"name":"faas.duration"`)
	sum := regexp.MustCompile(`"name":"faas.duration".*?"sum":([0-9.]+)`).FindStringSubmatch(strings.Join(heard, ""))
	if sum == nil {
		t.Fatalf("no sum of faas.duration in\n%s", heard)
	}
	told, _ := strconv.ParseFloat(sum[1], 64)
	if logged, err := strconv.ParseFloat(report[2], 64); err != nil || math.Abs(told-logged) > 0.0051 {
		t.Errorf("the extension was told of %v ms, and REPORT has %s", told, report[2])
	}
}

// An internal extension from PyPI, which exists so that its function hears SIGTERM before it ends.
func TestPublishedInternalExtension(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		runtime := ready(t, s, "python3.12", "python3.11", "python3.13")
		l := s.layer("sigterm-"+s.kind, below(t, published(t, "sigterm"), "", map[string]string{}))
		for attempt := 1; ; attempt++ { // on a busy machine half a second may not be enough for a Python to come to its handler
			f := s.deploy(runtime, map[string]string{"index.py": `import lambda_sigterm, signal, sys
lambda_sigterm.register()
def end(*_):
    print('cleaned up', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
def handler(e, c): return e
`}, withLayers(l))
			if got := f.invoke(`{"a":1}`).ok(t); got != `{"a": 1}` {
				t.Errorf("answer %s", got)
			}
			f.logs("EXTENSION\tName: lambda-sigterm\tState: Ready\tEvents: []\n", "REPORT RequestId: ")
			f.delete("")
			f.once("its environment has gone", func() bool {
				return !slices.ContainsFunc(s.node.pool.Environments(), func(e execenv.Status) bool { return e.Function == f.name })
			})
			if attempt == 5 || strings.Contains(strings.Join(f.logs(), ""), "cleaned up\n") {
				f.logs("cleaned up\n")
				return
			}
		}
	})
}

// Extensions of the construction of AWS's samples in Go and Python (the one in Node is what the OpenTelemetry extension is
// made on), two at once, cold, in a copy, and at the end: nothing in them knows where they run.
func TestExtensionsBuiltAsAWSsSamples(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	runtime := ready(t, s, "python3.12", "python3.11", "python3.13")
	script, err := os.ReadFile("testdata/sample-python/extension.py")
	if err != nil {
		t.Fatal(err)
	}
	l := s.layer("as-samples", map[string]string{"extensions/go-sample": string(goProgram(t, "sample-go")), "python-sample/extension.py": string(script),
		"extensions/python-sample": "#!/bin/bash\nset -euo pipefail\nexec \"/opt/$(basename $0)/extension.py\" \"$(basename $0)\"\n"})
	f := s.deploy(runtime, map[string]string{"index.py": "def handler(e, c):\n    print('at work')\n    return e\n"}, snapStart, withLayers(l))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("version is %s: %s", c.State, aws.ToString(c.StateReason))
	}
	for _, version := range []string{"$LATEST", "1"} {
		for range 2 {
			if got := f.invokeVersion(version, `{"a":1}`).ok(t); got != `{"a": 1}` {
				t.Errorf("%s answers %s", version, got)
			}
			f.logs("REPORT RequestId: ")
		}
	}
	if _, err := f.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	f.logs("[go] registered beside "+f.name+" 1 index.handler\n", "[python] registered beside "+f.name+" $LATEST index.handler\n", "RESTORE_REPORT")
	for _, who := range []string{"[go] ", "[python] "} { // most of it with the SHUTDOWN: the environment is frozen before
		f.logs(who+"ends: SPINDOWN\n", who+"INVOKE dispatches", who+"SHUTDOWN dispatches")
		until(t, time.Minute, who+"heard of everything", func() bool {
			var heard []string
			for _, l := range f.logs() {
				if _, types, ok := strings.Cut(l, "dispatches"); ok && strings.HasPrefix(l, who) {
					heard = append(heard, strings.Fields(types)...)
				}
			}
			for _, want := range []string{"platform.initStart", "platform.initReport", "platform.start", "function", "platform.runtimeDone", "platform.report", "platform.restoreReport"} {
				if !slices.Contains(heard, want) {
					return false
				}
			}
			return true
		})
	}
}

// powertools are functions with Powertools for AWS Lambda. They log, and write metrics; the one in Python reads a parameter, too.
var powertools = map[string]string{
	"nodejs": `const { Logger } = require('@aws-lambda-powertools/logger')
const { Metrics } = require('@aws-lambda-powertools/metrics')
const logger = new Logger({ serviceName: 'shop' }), metrics = new Metrics({ namespace: 'Shop', serviceName: 'checkout' })
exports.handler = async (e, c) => {
	logger.addContext(c)
	metrics.addMetric('Orders', 'Count', e.n)
	logger.info('an order', { n: e.n })
	metrics.publishStoredMetrics()
	return e.n
}`,
	// Parameter Store is the function itself.
	"python": `import http.server, json, os, threading
class Store(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        body = json.dumps({'Parameter': {'Name': asked['Name'], 'Type': 'String', 'Value': self.headers['X-Amz-Target']}}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
store = http.server.HTTPServer(('127.0.0.1', 0), Store)
threading.Thread(target=store.serve_forever, daemon=True).start()
os.environ['AWS_ENDPOINT_URL_SSM'] = 'http://127.0.0.1:%d' % store.server_port
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
logger, metrics = Logger(service='shop'), Metrics(namespace='Shop', service='checkout')
@metrics.log_metrics
@logger.inject_lambda_context
def handler(e, c):
    metrics.add_metric(name='Orders', unit=MetricUnit.Count, value=e['n'])
    assert parameters.get_parameter('/shop/rate') == 'AmazonSSM.GetParameter'
    logger.info('an order', extra={'n': e['n']})
    return e['n']
`}

// Powertools for AWS Lambda, as a layer of its packages: its log lines have the context, and its metrics become metrics.
func TestPowertools(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		for language, code := range powertools {
			t.Run(language, func(t *testing.T) {
				s := &server{t: t, node: s.node, client: s.client, kind: s.kind}
				runtime, file := "", "index.js"
				if language == "nodejs" {
					runtime = nodeRuntime(t)
				} else {
					runtime, file = ready(t, s, "python3.12", "python3.11", "python3.13"), "index.py"
				}
				l := s.layer("powertools-"+language+"-"+s.kind, below(t, published(t, "powertools-"+language), "", map[string]string{}))
				f := s.deploy(runtime, map[string]string{file: code}, withLayers(l))
				for _, n := range []string{"2", "5"} {
					if got := f.invoke(`{"n":` + n + `}`).ok(t); got != n {
						t.Errorf("answer %s, want %s", got, n)
					}
				}
				var said struct {
					Level, Message, Service, Function string
					FunctionName                      string `json:"function_name"`
					RequestID                         string `json:"function_request_id"`
					N                                 int
				}
				for _, l := range f.logs(`an order`) {
					if i := strings.IndexByte(l, '{'); i >= 0 && strings.Contains(l, `"an order"`) {
						if err := json.Unmarshal([]byte(l[i:]), &said); err != nil {
							t.Errorf("%q: %v", l, err)
						}
						break
					}
				}
				if said.Level != "INFO" || said.Message != "an order" || said.Service != "shop" || said.FunctionName != f.name || said.RequestID == "" || said.N != 2 {
					t.Errorf("the first line of the log is %+v", said)
				}
				name := fmt.Sprintf(`thaw_embedded_metric_sum{dimension_service="checkout",function=%q,metric="Orders",namespace="Shop",region="eu-west-1",unit="Count"}`, f.name)
				until(t, time.Minute, name+" is 7", func() bool { return s.samples()[name] == 7 })
			})
		}
	})
}

// powertoolsParameters reads a parameter by Powertools and the SDK that the runtime has. Parameter Store is the function itself.
func powertoolsParameters(t *testing.T, s *server, runtime string) {
	t.Helper()
	l := s.layer("powertools-parameters", below(t, published(t, "powertools-nodejs"), "", map[string]string{}))
	f := s.deploy(runtime, map[string]string{"index.js": `let asked = 0
require('http').createServer((q, r) => { let text = ''; q.on('data', d => text += d); q.on('end', () => { asked++
	r.setHeader('Content-Type', 'application/x-amz-json-1.1')
	r.end(JSON.stringify({ Parameter: { Name: JSON.parse(text).Name, Type: 'String', Value: q.headers['x-amz-target'] } })) }) }).listen(8124, '127.0.0.1')
const { getParameter } = require('@aws-lambda-powertools/parameters/ssm')
exports.handler = async () => [await getParameter('/shop/rate', { maxAge: 60 }), await getParameter('/shop/rate', { maxAge: 60 }), asked]`},
		withLayers(l), vars(map[string]string{"AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:8124"}))
	if got, want := f.invoke(`{}`).ok(t), `["AmazonSSM.GetParameter","AmazonSSM.GetParameter",1]`; got != want {
		t.Errorf("Powertools' parameters: %s, want %s", got, want)
	}
	f.delete("")
}
