package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shellRuntime is a runtime in bash that answers every event with the variable GREETING.
const shellRuntime = `#!/bin/bash
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
  exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
  id=
  while IFS= read -r line <&3; do
    line=${line%$'\r'}
    case ${line,,} in lambda-runtime-aws-request-id:*) id=${line#*: };; esac
  done
  exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
  body="\"$GREETING\""
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s' "$id" "${#body}" "$body" >&3
  cat <&3 >/dev/null
done
`

// TestDeploy takes the example of the command through its life: created, deployed again without a change, with one of
// the configuration, with one of the code, and with what cannot be deployed.
func TestDeploy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hello")
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("bootstrap", shellRuntime)
	serving(t)
	example := shellWords(t, deployCommand(&app{}).Example)[1:]
	example[1] = dir
	deployed := func(args ...string) deployment {
		t.Helper()
		r := thaw(t.Context(), append(args, "-o", "json")...)
		var d deployment
		if err := json.Unmarshal([]byte(r.out), &d); r.code != exitOK || err != nil {
			t.Fatalf("exit %d, %v\nstdout %q\nstderr %q", r.code, err, r.out, r.words)
		}
		return d
	}
	says := func(want string) {
		t.Helper()
		if r := thaw(t.Context(), "invoke", "hello"); r.code != exitOK || strings.TrimSpace(r.out) != want {
			t.Fatalf("it answers %q, want %q (exit %d: %s)", r.out, want, r.code, r.words)
		}
	}
	if d := deployed(example...); d.Function != "hello" || d.Change != "created" || d.Runtime != "provided.al2023" || d.Handler != "bootstrap" || d.Version != "1" ||
		d.Alias != "live" || !strings.HasPrefix(d.URL, "http://") {
		t.Errorf("at first: %+v", d)
	}
	says(`"hi"`)
	if d := deployed("deploy", dir); d.Change != "unchanged" {
		t.Errorf("without a change: %+v", d)
	}
	if d := deployed("deploy", dir, "--env", "GREETING=good day"); d.Change != "updated" {
		t.Errorf("with another variable: %+v", d)
	}
	says(`"good day"`)
	write("bootstrap", strings.ReplaceAll(shellRuntime, `"\"$GREETING\""`, `"\"$GREETING again\""`))
	if d := deployed("deploy", dir); d.Change != "updated" {
		t.Errorf("with other code: %+v", d)
	}
	says(`"good day again"`)
	// The process sandbox makes no snapshot: the version is there all the same. The flag is not the server's setting of
	// that name.
	d := deployed("deploy", dir, "--snapstart", "--api")
	if d.Version != "2" || !strings.HasPrefix(d.API, "http://") || !strings.Contains(d.API, ".execute-api.") {
		t.Errorf("with SnapStart and an API: %+v", d)
	}
	if again := deployed("deploy", dir, "--api"); again.API != d.API {
		t.Errorf("deployed again its API is %s, and was %s", again.API, d.API)
	}
	if r := thaw(t.Context(), "ls"); !strings.Contains(r.out, "hello") || !strings.Contains(r.out, "256 MiB") || !strings.Contains(r.out, "Active") {
		t.Errorf("it is not in the list, with its memory: %s", r.out)
	}
	empty := t.TempDir()
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"an empty folder":             {[]string{"deploy", empty}, "no function that thaw knows"},
		"no folder":                   {[]string{"deploy", filepath.Join(empty, "x")}, "is no folder"},
		"a variable without a value":  {[]string{"deploy", dir, "--env", "GREETING"}, "NAME=VALUE"},
		"a variable of one letter":    {[]string{"deploy", dir, "--env", "A=1"}, "at least two"},
		"environments of nothing":     {[]string{"ps", "helo"}, "did you mean hello?"},
		"a log of nothing":            {[]string{"logs", "something-else"}, "there is no function something-else"},
		"a layer that there is not":   {[]string{"deploy", dir, "--layer", "libs"}, "there is no layer libs"},
		"a URL for some":              {[]string{"deploy", dir, "--url=some"}, "none or iam"},
		"a command that there is not": {[]string{"deplyo"}, "did you mean deploy"},
	} {
		if r := thaw(t.Context(), c.args...); r.code == exitOK || !strings.Contains(r.words, c.want) {
			t.Errorf("%s: exit %d, %q; want %q", what, r.code, r.words, c.want)
		}
	}
}

func TestDaysAndWeeks(t *testing.T) {
	for text, want := range map[string]string{"1d": "24h0m0s", "2w": "336h0m0s", "1.5d": "36h0m0s", "90m": "1h30m0s"} {
		var d days
		if err := d.Set(text); err != nil || d.String() != want {
			t.Errorf("%s: %v, %v", text, d.String(), err)
		}
	}
	for _, text := range []string{"d", "xd", "", "1y"} {
		if new(days).Set(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
