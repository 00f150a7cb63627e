package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// samples are the values at /metrics, by name and labels as they stand there.
func (s *server) samples() map[string]float64 {
	s.t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(s.get("/metrics")) {
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[i+1:], &v); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		all[line[:i]] = v
	}
	return all
}

// number reads one of CloudWatch's numbers of a function; -1: there is none.
func (f *deployed) number(name, labels string) float64 {
	f.t.Helper()
	if v, ok := f.samples()[fmt.Sprintf("thaw_lambda_%s{function=%q,%s}", name, f.name, labels)]; ok {
		return v
	}
	return -1
}

const latest = `qualifier="$LATEST",region="eu-west-1",version="$LATEST"`

// embeddedFunction writes a document of the Embedded Metric Format for each event, as AWS's libraries do.
const embeddedFunction = `exports.handler = async (e) => {
	console.log('a line that is no metric')
	process.stdout.write(JSON.stringify({_aws: {Timestamp: Date.now(), CloudWatchMetrics: [{Namespace: 'Shop', Dimensions: [['Service'], []],
		Metrics: [{Name: 'Orders', Unit: 'Count', StorageResolution: 60}]}]}, Service: 'checkout', Orders: e.orders ?? 0}) + '\n')
	await new Promise(r => setTimeout(r, e.wait || 0))
	if (e.fail) throw new Error('as asked')
	return 1 }`

// What counts as what: errors are invocations, throttles are not; a timeout is an error; Duration has the time of extensions in
// it, and PostRuntimeExtensionsDuration has nothing else. Aliases, versions, provisioned concurrency and events have numbers of
// their own, and none is left of what was deleted. Source: Lambda Developer Guide, "Types of metrics for Lambda functions".
func TestMetricsOfFunctions(t *testing.T) {
	t.Parallel()
	s := shared(t, "process")
	f := s.js(embeddedFunction, timeout(3), s.withExtensions(map[string]string{"x": "events=INVOKE works=300ms"}))
	f.invoke(`{"orders": 2}`).ok(t)
	f.invoke(`{"fail": true, "orders": 3}`).failed(t, "Error", "as asked")
	f.invoke(`{"wait": 60000, "orders": 5}`).failed(t, "Sandbox.Timedout", "")
	is := func(name, labels string, want float64) {
		t.Helper()
		got := 0.0
		defer func() {
			if t.Failed() {
				t.Logf("%s{%s} is %v", name, labels, got)
			}
		}()
		until(t, time.Minute, fmt.Sprintf("%s{%s} is %v", name, labels, want), func() bool { got = f.number(name, labels); return got == want })
	}
	is("invocations_total", latest, 3)
	is("errors_total", latest, 2)
	is("throttles_total", latest, 0)
	is("concurrent_executions", latest, 0)
	is("duration_seconds_count", latest, 3)
	is("post_runtime_extensions_duration_seconds_count", latest, 3)
	duration, extensions := f.number("duration_seconds_sum", latest), f.number("post_runtime_extensions_duration_seconds_sum", latest)
	if extensions < 0.4 || duration < 3+extensions { // two of 300 ms, and 3 s until the timeout
		t.Errorf("Duration is %v s, %v s of it of extensions", duration, extensions)
	}

	embedded := fmt.Sprintf(`{function=%q,metric="Orders",namespace="Shop",region="eu-west-1",unit="Count"}`, f.name)
	checkout := "{dimension_Service=\"checkout\"," + embedded[1:]
	for name, want := range map[string]float64{"_sum" + embedded: 10, "_count" + embedded: 3, "_last" + embedded: 5, "_sum" + checkout: 10} {
		until(t, time.Minute, fmt.Sprintf("thaw_embedded_metric%s is %v", name, want), func() bool { return s.samples()["thaw_embedded_metric"+name] == want })
	}

	f.provisionedAndSpilled(is)
	f.throttledAndSent(is)
	if _, err := f.client.DeleteAlias(t.Context(), &lambda.DeleteAliasInput{FunctionName: &f.name, Name: aws.String("live")}); err != nil {
		t.Fatal(err)
	}
	is("invocations_total", `qualifier="live",region="eu-west-1",version="1"`, -1)
	if _, err := f.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "nothing is left of the deleted function", func() bool { return !strings.Contains(s.get("/metrics"), fmt.Sprintf("function=%q", f.name)) })
}

// provisionedAndSpilled has version 1 run on provisioned concurrency, and beside it.
func (f *deployed) provisionedAndSpilled(is func(name, labels string, want float64)) {
	f.t.Helper()
	f.version1()
	f.alias("live", "1")
	f.provision(1)
	if out := f.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady {
		f.t.Fatalf("%+v", out)
	}
	const one, live = `region="eu-west-1",version="1"`, `qualifier="live",region="eu-west-1",version="1"`
	both := make(chan answer, 2)
	slow := func() { both <- f.invokeVersion("live", `{"wait": 900}`) }
	go slow()
	is("provisioned_concurrency_utilization", one, 1)
	is("provisioned_concurrent_executions", one, 1)
	is("concurrent_executions", live, 1)
	go slow()
	is("provisioned_concurrency_invocations_total", live, 1)
	is("provisioned_concurrency_spillover_invocations_total", live, 1)
	(<-both).ok(f.t)
	(<-both).ok(f.t)
	is("invocations_total", live, 2)
	is("provisioned_concurrency_utilization", one, 0)
	is("concurrent_executions", live, 0)
	is("invocations_total", latest, 3)
	if _, err := f.client.DeleteProvisionedConcurrencyConfig(f.t.Context(), &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("1")}); err != nil {
		f.t.Fatal(err)
	}
	is("provisioned_concurrent_executions", one, -1)
}

// throttledAndSent has a request refused, an event run and another one dropped.
func (f *deployed) throttledAndSent(is func(name, labels string, want float64)) {
	f.t.Helper()
	ctx, sent := f.t.Context(), `qualifier="$LATEST",region="eu-west-1"`
	if err := f.send(`{}`); err != nil {
		f.t.Fatal(err)
	}
	is("async_events_received_total", sent, 1)
	is("async_event_age_seconds_count", sent, 1)
	is("invocations_total", latest, 4)
	if _, err := f.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: aws.Int32(0)}); err != nil {
		f.t.Fatal(err)
	}
	if a := f.invoke(`{}`); !errors.As(a.err, new(*types.TooManyRequestsException)) {
		f.t.Fatalf("of a function without concurrency: %+v", a)
	}
	is("throttles_total", latest, 1)
	if err := f.send(`{}`); err != nil {
		f.t.Fatal(err)
	}
	is("async_events_received_total", sent, 2)
	is("async_events_dropped_total", sent, 1)
	is("dead_letter_errors_total", sent, 0)
	is("destination_delivery_failures_total", sent, 0)
	is("invocations_total", latest, 4)
	is("errors_total", latest, 2)
}

// The dashboard that ships asks for nothing that /metrics lacks.
func TestDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title, UID string
		Panels     []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil || board.Title == "" || board.UID == "" || len(board.Panels) == 0 {
		t.Fatalf("%v: %+v", err, board)
	}
	s := openServer(t, "process", t.TempDir())
	defer s.closeServer()
	f := s.js(embeddedFunction)
	f.version1()
	f.provision(1)
	f.allocated()
	f.invoke(`{"orders": 1}`).ok(t)
	if err := f.send(`{}`); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "all has been counted", func() bool {
		all := s.get("/metrics")
		return strings.Contains(all, "thaw_embedded_metric_sum{") && strings.Contains(all, "thaw_lambda_async_event_age_seconds_count{") && f.number("invocations_total", latest) == 2
	})
	served := map[string]bool{}
	for name := range s.samples() {
		name, _, _ = strings.Cut(name, "{")
		served[name] = true
	}
	names := regexp.MustCompile(`\bthaw_[a-z_]+`)
	var asked []string
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			asked = append(asked, target.Expr)
			found := names.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("%s: no metric in %q", p.Title, target.Expr)
			}
			for _, name := range found {
				if !served[name] {
					t.Errorf("%s asks for %s, which is not served", p.Title, name)
				}
			}
		}
	}
	t.Run("in Prometheus", func(t *testing.T) { s.collected(t, asked) })
}

// collected has a real Prometheus collect the server's numbers, and ask what the dashboard asks: each has an answer.
func (s *server) collected(t *testing.T, asked []string) {
	program := os.Getenv("THAW_TEST_PROMETHEUS")
	if program == "" {
		program = "prometheus"
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("Prometheus is not installed: apt-get install prometheus, or name it in THAW_TEST_PROMETHEUS")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, dir := l.Addr().String(), t.TempDir()
	l.Close()
	config := fmt.Sprintf("scrape_configs: [{job_name: thaw, scrape_interval: 500ms, scrape_timeout: 500ms, static_configs: [{targets: ['%s']}]}]\n", s.node.Addr())
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := &strings.Builder{}
	cmd := exec.CommandContext(ctx, program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait() //nolint:errcheck // it was killed
		if t.Failed() {
			t.Log(said)
		}
	}()
	for _, expr := range asked {
		expr = strings.NewReplacer("$function", ".*", "$qualifier", ".*", "$__rate_interval", "1m").Replace(expr)
		answer := "none"
		end := time.Now().Add(30 * time.Second)
		for ; ; time.Sleep(50 * time.Millisecond) {
			var a struct {
				Status, Error string
				Data          struct{ Result []json.RawMessage }
			}
			if resp, err := http.Get("http://" + at + "/api/v1/query?query=" + url.QueryEscape(expr)); err == nil {
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if answer = string(text); err == nil && json.Unmarshal(text, &a) == nil && (a.Status == "error" || len(a.Data.Result) > 0) {
					if a.Status != "success" {
						t.Errorf("%s: %s", expr, a.Error)
					}
					break
				}
			}
			if time.Now().After(end) {
				t.Fatalf("%s: no answer but %s", expr, answer)
			}
		}
	}
}
