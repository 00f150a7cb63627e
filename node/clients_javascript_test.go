package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"thaw/eventsource/eventsourcetest"
)

// C-135: AWS's SDK for JavaScript, with its waiters and paginators.
func TestClientJavaScript(t *testing.T) {
	t.Parallel()
	s, env := forClients(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip(err)
	}
	sdk := eventsourcetest.Node(t, "@aws-sdk/client-lambda@3.1164.0", "@aws-sdk/client-cloudwatch-logs@3.1169.0")
	dir := t.TempDir() // modules are looked for beside the program
	if err := os.Symlink(filepath.Join(sdk, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	story, err := os.ReadFile(filepath.Join("testdata", "clients", "story.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "story.mjs"), story, 0o600); err != nil {
		t.Fatal(err)
	}
	tool{t: t, env: append(env, "NODE_NO_WARNINGS=1"), dir: dir, path: node}.do("story.mjs", shopFile(t), "javascript-shop", nodejs(t, s))
}
