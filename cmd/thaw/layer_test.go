package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A layer is published from a folder and from a zip, listed and deleted, by the examples of the commands' help.
func TestLayerCommands(t *testing.T) {
	serving(t)
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Join("libs", "python"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("libs", "python", "lib.py"), []byte("x = 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(words ...string) result {
		t.Helper()
		r := thaw(t.Context(), words...)
		if r.code != exitOK {
			t.Fatalf("%v: exit %d, %s", words, r.code, r.words)
		}
		return r
	}
	a := &app{}
	publish, remove := shellWords(t, layerPublishCommand(a).Example)[1:], shellWords(t, layerRmCommand(a).Example)[1:]
	if r := run(publish...); !strings.HasSuffix(strings.TrimSpace(r.out), ":layer:libs:1") {
		t.Errorf("published: %q", r.out)
	}
	var v layerVersion
	if r := run(append(publish, "--description", "d", "-o", "json")...); json.Unmarshal([]byte(r.out), &v) != nil || v.Version != 2 || v.CodeSize == 0 {
		t.Errorf("published: %q", r.out)
	}
	if r := run("layer", "ls"); !strings.Contains(r.out, "libs:2") || strings.Contains(r.out, "libs:1 ") || !strings.Contains(r.out, "python3.12") {
		t.Errorf("listed: %q", r.out)
	}
	run(remove...)
	if r := run("layer", "ls", "libs"); !strings.Contains(r.out, "libs:2") || strings.Contains(r.out, "libs:1 ") {
		t.Errorf("listed: %q", r.out)
	}
	if r := run(shellWords(t, layerInstallCommand(a).Example)[1:]...); !strings.HasSuffix(strings.TrimSpace(r.out), ":layer:cache:1") {
		t.Errorf("installed: %q", r.out)
	}
	if r := thaw(t.Context(), remove...); r.code != exitFailed || !strings.Contains(r.words, "The resource you requested does not exist.") {
		t.Errorf("deleted twice: exit %d, %s", r.code, r.words)
	}
	for _, wrong := range [][]string{{"layer", "rm", "libs"}, {"layer", "publish", "libs", "none"}, {"layer", "install", "libs"}} {
		if r := thaw(t.Context(), wrong...); r.code != exitMisuse {
			t.Errorf("%v: exit %d, %s", wrong, r.code, r.words)
		}
	}
}
