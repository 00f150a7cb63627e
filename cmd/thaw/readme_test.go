package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/admin"
)

// quickStart are the blocks of commands of the README's quick start, in order.
func quickStart(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Quick start\n")
	section, _, ok2 := strings.Cut(section, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the README has no quick start")
	}
	var blocks []string
	inside := false
	for line := range strings.Lines(section) {
		code, is := strings.CutPrefix(line, "    ")
		switch {
		case is && inside:
			blocks[len(blocks)-1] += code
		case is:
			blocks = append(blocks, code)
		}
		inside = is || inside && strings.TrimSpace(line) == ""
	}
	return slices.DeleteFunc(blocks, func(b string) bool { return strings.Contains(b, "make build") }) // what a test has done already
}

// TestQuickStart types the README's quick start as it stands there, with each version of AWS's command line that is here.
func TestQuickStart(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("the quick start's function is for Node.js, which is not here")
	}
	sandbox := "process"
	if os.Geteuid() == 0 {
		sandbox = "gvisor"
	}
	exe := filepath.Join(t.TempDir(), "thaw")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, ".") // as make build does, whose packages are compiled already
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data := servingIn(t, sandbox)
	health, err := admin.Dial(data).Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	blocks := quickStart(t)
	if len(blocks) != 8 {
		t.Fatalf("the quick start has %d blocks of commands to type, want those of deploying, of snapshots, of AWS's command line, of logs, of a URL, of an API, of a topic and of events: %q", len(blocks), blocks)
	}
	folder := t.TempDir()
	answer := func(block string, path string) (string, error) {
		block = strings.NewReplacer("bin/thaw", exe, "http://127.0.0.1:9600", health.Endpoint).Replace(block)
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", block)
		cmd.Dir = folder
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "AWS_") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "THAW_DATA_DIR="+data, "HOME="+folder, "PATH="+path)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	typed := func(block string, path string) string {
		t.Helper()
		out, err := answer(block, path)
		if err != nil || !strings.Contains(out, `{"hello":"you"}`) {
			t.Fatalf("%v\n%s\nsays\n%s", err, block, out)
		}
		return out
	}
	typed(blocks[0], os.Getenv("PATH"))
	if sandbox == "gvisor" {
		if out := typed(blocks[1], os.Getenv("PATH")); !strings.Contains(out, "hello:1") {
			t.Errorf("snapshot ls does not show the version:\n%s", out)
		}
	} else {
		t.Log("left out: the snapshots of the quick start, which need root")
	}
	clients := awsClients()
	if len(clients) == 0 {
		t.Log("left out: AWS's command line, which is not here")
	}
	for i, dir := range clients {
		block, logs, doors := blocks[2], blocks[3], slices.Clone(blocks[4:6])
		if i > 0 { // each client's function has a name of its own
			again := strings.NewReplacer("hello2", "hello2-again").Replace
			block, logs = again(block), again(logs)
			for n := range doors {
				doors[n] = again(doors[n])
			}
		}
		version, _ := exec.Command(filepath.Join(dir, "aws"), "--version").CombinedOutput()
		t.Logf("with %s", version)
		path := dir + ":" + os.Getenv("PATH")
		typed(block, path)
		settings, _, _ := strings.Cut(block, "echo") // what is exported and set stays in the terminal
		for end := time.Now().Add(time.Minute); ; {  // the last line is written after the answer
			out, err := answer(settings+logs, path)
			if err == nil && strings.Contains(out, "REPORT RequestId: ") {
				break
			}
			if err != nil || time.Now().After(end) {
				t.Fatalf("%v\n%s\nsays\n%s", err, logs, out)
			}
		}
		arn, _, _ := strings.Cut(blocks[5], "\n")
		for _, sender := range blocks[6:] {
			if i > 0 {
				break // what they make is there
			}
			if out, err := answer(settings+arn+"\n"+sender, path); err != nil {
				t.Errorf("%v\n%s\nsays\n%s", err, sender, out)
			}
		}
		if _, err := exec.LookPath("curl"); err != nil {
			t.Log("left out: the URL and the API, which want curl")
			continue
		}
		for _, door := range doors {
			if out, err := answer(settings+door, path); err != nil || !strings.HasSuffix(out, "{}") { // there is no name in the event
				t.Errorf("%v\n%s\nsays\n%s", err, door, out)
			}
		}
	}
}

// awsClients are the folders of the path that hold AWS's command line.
func awsClients() []string {
	var dirs []string
	seen := map[string]bool{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "aws"))
		if err == nil && !seen[real] {
			seen[real] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
