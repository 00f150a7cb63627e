package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/samples"
)

// testKey will do where no signature is verified.
var testKey = aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}

// serving runs `thaw server` until the test ends, and gives its data folder.
func serving(t *testing.T) string { return servingIn(t, "process") }

func servingIn(t *testing.T, sandbox string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("THAW_DATA_DIR", dir)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan result, 1)
	go func() {
		done <- thaw(ctx, append([]string{"server", "--data-dir", dir, "--listen", "127.0.0.1:0", "--sandbox", sandbox, "--log-level", "error"}, more...)...)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case r := <-done:
			if r.code != exitOK {
				t.Errorf("the server ended with %d: %s", r.code, r.words)
			}
		case <-time.After(time.Minute):
			t.Error("the server did not end within a minute of its interruption")
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := admin.Dial(dir).Health(t.Context())
		if err == nil {
			return dir
		}
		select {
		case r := <-done:
			done <- r
			t.Fatalf("the server ended: %s", r.words)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

// deploy creates a function that needs no interpreter but bash.
func deploy(t *testing.T, dir, name string) {
	t.Helper()
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := samples.Zip("shell-hello")
	if err != nil {
		t.Fatal(err)
	}
	handler, role := "hello.handler", "arn:aws:iam::000000000000:role/test"
	client := newClient(health.Endpoint, region(), testKey, nil)
	if _, err := client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.RuntimeProvidedal2023,
		Handler: &handler, Role: &role, Code: &types.FunctionCode{ZipFile: pkg}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionActiveV2Waiter(client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &name}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

// published publishes version 1 of a function.
func published(t *testing.T, dir, name string) {
	t.Helper()
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(health.Endpoint, region(), testKey, nil).PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
}

// TestExamples runs the example at the end of every command's help against a server with a function named hello, and the commands that
// print also with -o json.
func TestExamples(t *testing.T) {
	dir := serving(t)
	deploy(t, dir, "hello")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config")) // not those of whoever runs the test
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	if r := thaw(t.Context(), "invoke", "hello", "--payload", "{}"); r.code != exitOK {
		t.Fatal(r.words)
	}
	published(t, dir, "hello")
	rank := map[string]int{"thaw alias set": -1, "thaw api add": -1, "thaw url set": -1, "thaw api rm": 1, "thaw alias rm": 1, "thaw url rm": 1, "thaw fn rm": 2} // what has to be there for others
	commands := everyCommand(newRoot(&app{}))
	slices.SortStableFunc(commands, func(x, y *cobra.Command) int { return rank[x.CommandPath()] - rank[y.CommandPath()] })
	for _, c := range commands {
		example := shellWords(t, c.Example)[1:]
		switch c.CommandPath() {
		case "thaw server", "thaw demo", "thaw deploy", "thaw runtime install", "thaw sandbox install", "thaw backup", "thaw restore":
			continue // have tests of their own below
		}
		if c.CommandPath() == "thaw layer publish" || c.CommandPath() == "thaw layer rm" {
			continue // need a layer: TestLayerCommands
		}
		switch c.CommandPath() {
		case "thaw key add", "thaw key rm", "thaw role put", "thaw role rm":
			continue // need files: TestKeyCommands
		}
		if strings.HasPrefix(c.CommandPath(), "thaw snapshot") || strings.HasPrefix(c.CommandPath(), "thaw source ") || strings.HasPrefix(c.CommandPath(), "thaw trigger ") {
			continue // need snapshots, sources or folders: snapshot_test.go, source_test.go, trigger_test.go
		}
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Name() == "rm" { // there is one thing to delete
				example = append(example, "-o", "json")
			}
			r := thaw(t.Context(), example...)
			if r.code != exitOK || r.out == "" {
				t.Fatalf("exit %d\nstdout %q\nstderr %q", r.code, r.out, r.words)
			}
			if !c.HasParent() || c.HasSubCommands() || c.Name() == "rm" && json.Valid([]byte(r.out)) {
				return
			}
			r = thaw(t.Context(), append(example, "-o", "json")...)
			for d := json.NewDecoder(strings.NewReader(r.out)); d.More(); {
				var v any
				if err := d.Decode(&v); err != nil {
					t.Fatalf("-o json: %v in %q", err, r.out)
				}
			}
			if r.code != exitOK || r.out == "" {
				t.Errorf("-o json: exit %d, stderr %q", r.code, r.words)
			}
		})
	}
}

func TestServerExample(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan result, 1)
	example := shellWords(t, serverCommand(&app{}).Example)[1:]
	go func() {
		done <- thaw(ctx, append(example, "--listen", "127.0.0.1:0", "--sandbox", "process", "--log-level", "error")...)
	}()
	for {
		if _, err := admin.Dial("thaw-data").Health(t.Context()); err == nil {
			break
		}
		select {
		case r := <-done:
			t.Fatalf("exit %d: %s", r.code, r.words)
		case <-time.After(20 * time.Millisecond):
		}
	}
	r := thaw(t.Context(), append(example, "--listen", "127.0.0.1:0", "--sandbox", "process")...)
	if r.code != exitFailed || !strings.Contains(r.words, "a server runs on") {
		t.Errorf("a second server on the folder: exit %d, stderr %q", r.code, r.words)
	}
	stop()
	if r := <-done; r.code != exitOK || r.out != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	if _, err := os.Stat("thaw-data/thaw.sock"); err == nil {
		t.Error("the socket is still there")
	}
}

func TestDrainEndsTheServer(t *testing.T) {
	dir := t.TempDir()
	done := make(chan result, 1)
	go func() {
		done <- thaw(context.Background(), "server", "--data-dir", dir, "--listen", "127.0.0.1:0", "--sandbox", "process", "--log-level", "error")
	}()
	for admin.Dial(dir).Drain(t.Context()) != nil {
		select {
		case r := <-done:
			t.Fatalf("exit %d: %s", r.code, r.words)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if r := <-done; r.code != exitOK {
		t.Errorf("exit %d: %s", r.code, r.words)
	}
}

func TestInvokeAndLogs(t *testing.T) {
	dir := serving(t)
	deploy(t, dir, "hello")
	r := thaw(t.Context(), "invoke", "hello", "-p", `{"n":1}`, "--tail")
	if r.code != exitOK || !strings.Contains(r.out, `"event":{"n":1}`) || !strings.Contains(r.words, "REPORT RequestId: ") {
		t.Errorf("invoke: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	var answer invokeAnswer
	r = thaw(t.Context(), "invoke", "hello", "-p", `{"n":1}`, "--tail", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &answer); err != nil || answer.StatusCode != 200 || answer.ExecutedVersion != "$LATEST" || !strings.Contains(answer.Log, "REPORT") {
		t.Errorf("invoke -o json: %+v, error %v", answer, err)
	}
	r = thaw(t.Context(), "invoke", "nobody")
	if r.code != exitFailed || r.out != "" || !strings.HasPrefix(r.words, "thaw: ResourceNotFoundException: ") {
		t.Errorf("invoke of nothing: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	r = thaw(t.Context(), "logs", "hello", "--filter", "hello from bash", "-n", "1")
	if r.code != exitOK || strings.Count(r.out, "\n") != 1 {
		t.Errorf("logs: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	if r = thaw(t.Context(), "logs", "nobody"); r.code != exitFailed || !strings.Contains(r.words, "there is no function nobody") {
		t.Errorf("logs of nothing: exit %d, stderr %q", r.code, r.words)
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, stop)
	r = thaw(ctx, "logs", "hello", "-f")
	if r.code != exitOK || strings.Count(r.out, "REPORT ") != 2 {
		t.Errorf("logs -f until interrupted: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	r = thaw(t.Context(), "ps", "hello")
	if r.code != exitOK || !strings.HasPrefix(r.out, "ENV ") || !strings.Contains(r.out, "$LATEST") {
		t.Errorf("ps: exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
	logsOfSeveral(t, dir)
}

// logsOfSeveral follows two functions, one of which writes into a group of its own, while they are invoked.
func logsOfSeveral(t *testing.T, dir string) {
	t.Helper()
	deploy(t, dir, "second")
	health, err := admin.Dial(dir).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(health.Endpoint, region(), testKey, nil)
	if _, err := client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("second"),
		LoggingConfig: &types.LoggingConfig{LogGroup: aws.String("/of/its/own")}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("second")}, time.Minute); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	followed := make(chan result, 1)
	var out, words following
	go func() {
		code := run(ctx, context.Background(), []string{"logs", "-f", "-n", "1", "--filter", "REPORT", "hello", "second"}, strings.NewReader(""), &out, &words)
		followed <- result{code: code}
	}()
	out.until(t, "hello ") // what was there
	for _, name := range []string{"second", "hello", "second"} {
		if r := thaw(t.Context(), "invoke", name); r.code != exitOK {
			t.Fatal(r.words)
		}
	}
	for strings.Count(out.String(), "REPORT ") < 4 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if r := <-followed; r.code != exitOK || strings.Count(out.String(), "hello   ") != 2 || strings.Count(out.String(), "second  ") != 2 {
		t.Errorf("logs -f of two functions: exit %d, stdout %q, stderr %q", r.code, out.String(), words.String())
	}
	if r := thaw(t.Context(), "logs", "second", "hello", "-o", "json"); !strings.Contains(r.out, `{"group":"/of/its/own","id":`) || !strings.Contains(r.out, `{"group":"/aws/lambda/hello","id":`) {
		t.Errorf("as JSON: %s%s", r.out, r.words)
	}
}

// following is output that is read while it is written.
type following struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (f *following) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.Write(p)
}

func (f *following) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

func (f *following) until(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(f.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q does not come: %q", text, f.String())
		}
	}
}

// TestDemoExample needs bash alone; what else can run here runs too. Samples whose runtime cannot be had are left out, and said.
func TestDemoExample(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	r := thaw(t.Context(), shellWords(t, demoCommand(&app{}).Example)[1:]...)
	var steps []step
	if err := json.Unmarshal([]byte(r.out), &steps); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, error %v, stderr %s", r.code, err, r.words)
	}
	seen := map[string]step{}
	for _, s := range steps {
		seen[s.Function+" "+s.Step] = s
	}
	cold, warm := seen["demo-shell-hello cold invoke"], seen["demo-shell-hello warm invoke"]
	if cold.InitMs == 0 || warm.InitMs != 0 || warm.DurationMs == 0 || len(cold.Phases) == 0 || !strings.Contains(warm.Answer, "bash") {
		t.Errorf("cold %+v\nwarm %+v", cold, warm)
	}
	for _, a := range acts {
		if len(a.steps) == 0 {
			continue // for snapshots alone
		}
		if name := functionName(a.sample); seen[name+" "+a.steps[0].name].Function == "" && !strings.Contains(r.words, a.sample+" is left out") {
			t.Errorf("%s neither ran nor was left out in words", name)
		}
	}
	if strings.Count(r.words, "saves no memory") != 1 || strings.Contains(r.words, "snapshot ls") {
		t.Errorf("the process sandbox makes no snapshots, and the demonstration says %q", r.words)
	}
	heard(t, seen, r.words)
	if last := steps[len(steps)-1]; !strings.Contains(last.URL, ".execute-api.") || last.Answer == "" {
		t.Errorf("the API gave %+v", last)
	}
	if s, ran := seen["demo-nodejs-timeout timeout"]; ran && s.FunctionError == "" {
		t.Errorf("the timeout gave %+v", s)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// heard fails the test unless the extension of a sample layer, which knows nothing of this project, was told of an Init and two
// invocations, in order, and said so in the log.
func heard(t *testing.T, seen map[string]step, words string) {
	t.Helper()
	if strings.Contains(words, "nodejs-extension is left out") {
		return
	}
	st := seen["demo-nodejs-extension telemetry, in the log"]
	told := st.Told
	if out := strings.Contains(words, "aws logs tail is left out: AWS's command line, version 2, is not here"); st.ReadBy != map[bool]string{true: "thaw logs", false: "aws logs tail"}[out] {
		t.Errorf("the log was read by %q: %s", st.ReadBy, words)
	}
	at := 0
	for _, want := range []string{"platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone", "platform.start", "platform.runtimeDone", "platform.report"} {
		i := slices.Index(told[at:], want)
		if i < 0 {
			t.Fatalf("no %s in its place in %q", want, told)
		}
		at += i + 1
	}
}

// TestDemoOfSnapshots runs the demonstration with the sandbox that saves memory: a restore beside a cold start of the same function, and a version whose
// snapshot is made anew under load. How fast it is depends on the machine; what must be true of it does not.
func TestDemoOfSnapshots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("snapshots need the gvisor sandbox, which needs root")
	}
	for _, program := range []string{"node", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not here: %v", program, err)
		}
	}
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Cleanup(func(found []string) func() { return func() { awsPrograms = found } }(awsPrograms))
	awsPrograms = nil // TestDemoExample has it
	r := thaw(t.Context(), "demo", "--sandbox", "gvisor", "-o", "json")
	var steps []step
	if err := json.Unmarshal([]byte(r.out), &steps); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, error %v, stderr %s", r.code, err, r.words)
	}
	seen := map[string]step{}
	for _, s := range steps {
		seen[s.Function+" "+s.Step] = s
	}
	for _, a := range acts {
		name := functionName(a.sample)
		if a.then == nil || strings.Contains(r.words, a.sample+" is left out") {
			continue
		}
		published := seen[name+" publish with SnapStart"]
		if published.Version != "1" || published.ClientMs == 0 || len(published.Phases) < 4 {
			t.Errorf("publish of %s: %+v", name, published)
		}
		if len(a.steps) == 0 {
			continue
		}
		cold, restored := seen[name+" cold invoke"], seen[name+" restored invoke"]
		if restored.Function == "" {
			restored = seen[name+" invoke of a spare"]
		}
		if restored.Version != "1" || restored.RestoreMs == 0 || restored.InitMs != 0 || len(restored.Phases) == 0 {
			t.Errorf("restore of %s: %+v", name, restored)
		}
		if restored.ColdMs != cold.ClientMs || cold.InitMs == 0 || restored.Ratio != cold.ClientMs/restored.ClientMs {
			t.Errorf("%s: %+v beside %+v", name, restored, cold)
		}
		if want := regexp.MustCompile(`"requestId":\s?"[^"]*"`); want.ReplaceAllString(restored.Answer, "") != want.ReplaceAllString(cold.Answer, "") {
			t.Errorf("%s answers %s from scratch and %s from the snapshot", name, cold.Answer, restored.Answer)
		}
	}
	heard(t, seen, r.words)
	refresh := seen["demo-nodejs-cached refresh under load"]
	if len(refresh.Generations) < 2 {
		t.Fatalf("refresh: %+v", refresh)
	}
	for i, g := range refresh.Generations {
		if g.Generation != uint64(i+1) || g.Requests == 0 || g.OldestMs >= g.GoodForMs {
			t.Errorf("generation %+v", g)
		}
	}
	for _, what := range []string{"snapshot ls", "snapshot inspect hello:1", "snapshot doctor hello:1"} {
		if !strings.Contains(r.words, what) {
			t.Errorf("not told to type %s: %s", what, r.words)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRuntimeInstallExample(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	r := thaw(t.Context(), shellWords(t, runtimeInstallCommand(&app{}).Example)[1:]...)
	if r.code != exitOK && (strings.Contains(r.words, "is missing") || strings.Contains(r.words, "dial tcp") || strings.Contains(r.words, "no such host")) {
		t.Skipf("it cannot be had here: %s", r.words)
	}
	if r.code != exitOK || r.out != "" || r.words == "" {
		t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.words)
	}
}
