package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// result is what one run of the program gave.
type result struct {
	code       int
	out, words string
}

func thaw(ctx context.Context, args ...string) result {
	var out, words following // a server that is part of the command writes, too
	code := run(ctx, context.Background(), args, strings.NewReader(""), &out, &words)
	return result{code, out.String(), words.String()}
}

// everyCommand are the command and all below it.
func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, everyCommand(sub)...)
		}
	}
	return all
}

func TestHelpEndsInAnExample(t *testing.T) {
	root := newRoot(&app{})
	for _, c := range everyCommand(root) {
		path := strings.Fields(c.CommandPath())[1:]
		r := thaw(t.Context(), append(path, "--help")...)
		want := "Example:\n  " + c.Example + "\n"
		if r.code != exitOK || c.Example == "" || !strings.HasSuffix(r.out, want) {
			t.Errorf("help of %s (exit %d) does not end in its example:\n%s", c.CommandPath(), r.code, r.out)
		}
		if !strings.HasPrefix(c.Example, c.CommandPath()) && c != root {
			t.Errorf("the example of %s is %q", c.CommandPath(), c.Example)
		}
	}
}

func TestMisuse(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	for name, args := range map[string]string{
		"an unknown command":              "frobnicate",
		"an unknown flag":                 "ps --frobnicate",
		"a flag without its value":        "logs hello --since",
		"a value of the wrong kind":       "logs hello --since yesterday",
		"too many arguments":              "config twice",
		"too few arguments":               "invoke",
		"an unknown output":               "version -o yaml",
		"a setting out of range":          "config --concurrency 0",
		"an open door":                    "server --listen 0.0.0.0:9600",
		"a config file that is not there": "config --config /nonexistent/thaw.conf",
		"a bad filter pattern":            `logs hello --filter "`,
		"an endpoint that is no URL":      "invoke hello --endpoint nonsense",
		"a payload that is not there":     "invoke hello --payload @/nonexistent",
		"an unknown subcommand":           "runtime frobnicate",
		"a negative number of lines":      "logs hello -n -1",
		"an interval that is none":        "snapshot policy hello:1 --interval soon",
		"an interval that is too short":   "snapshot policy hello:1 --interval 1s",
		"an age below the interval":       "snapshot policy hello:1 --interval 10m --max-age 1m",
		"priming without an event":        "snapshot policy hello:1 --prime warm",
		"a policy and none":               "snapshot policy hello:1 --interval 10m --tags",
		"an event that is not JSON":       "snapshot doctor hello:1 --event nonsense",
		"no version to refresh":           "snapshot refresh",
	} {
		t.Run(name, func(t *testing.T) {
			r := thaw(t.Context(), strings.Fields(args)...)
			if r.code != exitMisuse || r.out != "" || !strings.HasPrefix(r.words, "thaw: ") || strings.Count(r.words, "\n") > 3 {
				t.Errorf("exit %d\nstdout %q\nstderr %q", r.code, r.out, r.words)
			}
		})
	}
}

func TestWithoutAServer(t *testing.T) {
	t.Setenv("THAW_DATA_DIR", t.TempDir())
	for _, args := range []string{"ps", "logs hello", "invoke hello", "config --running", "snapshot ls", "snapshot rm hello:1"} {
		r := thaw(t.Context(), strings.Fields(args)...)
		if r.code != exitFailed || r.out != "" || !strings.Contains(r.words, "type: thaw server") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", args, r.code, r.out, r.words)
		}
	}
}

func TestConfigTellsWhereValuesComeFrom(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("THAW_DATA_DIR", dir)
	t.Setenv("THAW_SECRET_ACCESS_KEY", "hush")
	t.Setenv("THAW_ACCESS_KEY_ID", "AKIA")
	r := thaw(t.Context(), "config", "--listen", ":9700", "-o", "json")
	var values []struct{ Name, Value, Origin, Where string }
	if err := json.Unmarshal([]byte(r.out), &values); err != nil || r.code != exitOK {
		t.Fatalf("exit %d, error %v, stderr %q", r.code, err, r.words)
	}
	got := map[string]string{}
	for _, v := range values {
		got[v.Name] = v.Value + " from " + v.Origin + " " + v.Where
	}
	for name, want := range map[string]string{
		"listen": ":9700 from flag --listen", "data-dir": dir + " from environment THAW_DATA_DIR",
		"secret-access-key": "(set) from environment THAW_SECRET_ACCESS_KEY", "concurrency": "1000 from default ",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if strings.Contains(r.out, "hush") {
		t.Error("the secret is told")
	}
}

func TestDoctorSaysHowToRepair(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("THAW_DATA_DIR", filepath.Join(file, "thaw")) // there can be no such folder
	r := thaw(t.Context(), "doctor", "-o", "json")
	var findings []finding
	if err := json.Unmarshal([]byte(r.out), &findings); err != nil {
		t.Fatalf("%v in %q", err, r.out)
	}
	failed := false
	for _, f := range findings {
		if (f.Repair == "") != (f.Result == ok) {
			t.Errorf("%+v", f)
		}
		failed = failed || f.Check == "data folder" && f.Result == fail
	}
	if !failed || r.code != exitFailed {
		t.Errorf("exit %d with %+v", r.code, findings)
	}
}

// shellWords splits an example as a shell would.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}
