package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// environment is what a real one gives an extension: the APIs, and the restore file.
type environment struct {
	*httptest.Server
	mu     sync.Mutex
	events []string // still to be handed out
	notes  []string
	status int // of a note's answer
}

func (e *environment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch r.Method + " " + r.URL.Path {
	case "POST /2020-01-01/extension/register":
		if r.Header.Get("Lambda-Extension-Name") != "x" || string(body) != `{"events":["INVOKE","SHUTDOWN"]}` {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		w.Header().Set("Lambda-Extension-Identifier", "id")
	case "GET /2020-01-01/extension/event/next":
		if r.Header.Get("Lambda-Extension-Identifier") != "id" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		io.WriteString(w, e.events[0]) //nolint:errcheck // a test's
		e.events = e.events[1:]
	case "PUT /2026-01-01/thaw/snapshot":
		e.notes = append(e.notes, string(body))
		w.WriteHeader(e.status)
	}
}

func newEnvironment(t *testing.T) *environment {
	e := &environment{status: http.StatusAccepted}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *environment) server(t *testing.T, vars map[string]string) *server {
	t.Helper()
	vars["AWS_LAMBDA_RUNTIME_API"] = strings.TrimPrefix(e.URL, "http://")
	vars["AWS_SESSION_TOKEN"] = "open"
	c, err := readConfig(func(name string) string { return vars[name] })
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(c)
	t.Cleanup(s.cache.Close)
	return s
}

func ask(s *server, method, target, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if token != "" {
		r.Header.Set("x-aws-parameters-secrets-token", token)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestExtension(t *testing.T) {
	e := newEnvironment(t)
	deadline := time.UnixMilli(1_800_000_000_000)
	e.events = []string{fmt.Sprintf(`{"eventType":"INVOKE","deadlineMs":%d}`, deadline.UnixMilli()), `{"eventType":"SHUTDOWN","shutdownReason":"SPINDOWN"}`}
	var invoked []time.Time
	x := &extension{api: strings.TrimPrefix(e.URL, "http://"), name: "x"}
	if err := x.run(t.Context(), func(at time.Time) { invoked = append(invoked, at) }); err != nil {
		t.Fatal(err)
	}
	if len(invoked) != 1 || !invoked[0].Equal(deadline) {
		t.Errorf("invoked %v", invoked)
	}
	if err := (&extension{api: x.api, name: "y"}).run(t.Context(), nil); err == nil {
		t.Error("a refused registration is no error")
	}
}

func TestServer(t *testing.T) {
	s := newEnvironment(t).server(t, map[string]string{})
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, method, target, token string
		status                      int
		body                        string
	}{
		{"no token", "GET", "/thaw/file?path=" + file, "", 401, "session token"},
		{"another token", "GET", "/thaw/file?path=" + file, "opem", 401, "session token"},
		{"a path that is none", "GET", "/", "open", 404, "there are"},
		{"another method", "POST", "/thaw/file?path=" + file, "open", 405, "GET"},
		{"no name", "GET", "/systemsmanager/parameters/get", "open", 400, "name is missing"},
		{"no ID", "GET", "/secretsmanager/get", "open", 400, "secretId is missing"},
		{"no URL", "GET", "/thaw/http?url=x", "open", 400, "URL"},
		{"too long", "GET", "/thaw/http?url=http://x/" + strings.Repeat("x", maxQuery), "open", 414, "too long"},
		{"a file that is not there", "GET", "/thaw/file?path=" + file + "x", "open", 404, "no such file"},
		{"a file", "GET", "/thaw/file?path=" + file, "open", 200, "text"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if w := ask(s, tc.method, tc.target, tc.token); w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	if w := ask(s, "GET", "/thaw/file?path="+file, "open"); w.Header().Get("X-Thaw-Cache") != "hit" || w.Header().Get("Age") != "0" {
		t.Errorf("again: %v", w.Header())
	}
}

// The snapshot is told of the first end until it is made. A copy asks anew, and says nothing any more.
func TestSnapshotAndRestore(t *testing.T) {
	e := newEnvironment(t)
	dir := t.TempDir()
	restored, file := filepath.Join(dir, "restored"), filepath.Join(dir, "f")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(restored, "")
	write(file, "before")
	s := e.server(t, map[string]string{"THAW_RESTORE_FILE": restored, "THAW_CACHE_FILE_TTL": "50"})
	get := func() string { return ask(s, "GET", "/thaw/file?path="+file, "open").Body.String() }
	get()
	if get(); len(e.notes) != 1 || !strings.HasPrefix(e.notes[0], `{"expires":"`) {
		t.Errorf("told %q", e.notes)
	}
	write(file, "after, in this copy")
	if got := get(); got != "before" {
		t.Errorf("without a restore: %s", got)
	}
	write(restored, "COPY\n")
	s.invoked(time.Now().Add(time.Minute)) // waits for what it fetches
	if got := get(); got != "after, in this copy" {
		t.Errorf("in the copy: %s", got)
	}
	if len(e.notes) != 1 {
		t.Errorf("told %q", e.notes)
	}
}

func TestNoSnapshot(t *testing.T) {
	for name, vars := range map[string]map[string]string{"no SnapStart": {}, "told not to": {"THAW_RESTORE_FILE": os.DevNull, "THAW_CACHE_SNAPSHOT": "off"}} {
		e := newEnvironment(t)
		s := e.server(t, vars)
		ask(s, "GET", "/thaw/file?path=/proc/self/comm", "open")
		if len(e.notes) > 0 {
			t.Errorf("%s: told %q", name, e.notes)
		}
	}
}

func TestConfig(t *testing.T) {
	read := func(vars map[string]string) (config, error) {
		vars["AWS_SESSION_TOKEN"] = "open"
		return readConfig(func(name string) string { return vars[name] })
	}
	c, err := read(map[string]string{})
	if err != nil || c.port != "2773" || c.parameter != 5*time.Minute || c.secret != 5*time.Minute || c.entries != 1000 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := read(map[string]string{"PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "false", "SECRETS_MANAGER_TTL": "0", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "99"}); err != nil || c.entries != 0 || c.secret != 0 || c.port != "99" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, value := range map[string]string{"SECRETS_MANAGER_TTL": "301", "SSM_PARAMETER_STORE_TTL": "-1", "PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE": "many",
		"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "65536", "PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "perhaps"} {
		if _, err := read(map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	if _, err := readConfig(func(string) string { return "" }); err == nil {
		t.Error("it opens without a token")
	}
}
