package javaagent

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The class files in the tree are what the source in the tree gives.
func TestClassesMatchTheirSource(t *testing.T) {
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("no javac here: ", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("sh", "generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := filesBelow(t, os.DirFS(dir))
	committed := filesBelow(t, os.DirFS("classes"))
	if have, want := string(made["javac.txt"]), string(committed["javac.txt"]); have != want {
		t.Skipf("the classes were compiled by javac %s, here is %s", strings.TrimSpace(want), strings.TrimSpace(have))
	}
	for name, b := range made {
		if !bytes.Equal(b, committed[name]) {
			t.Errorf("%s differs; run go generate", name)
		}
	}
	for name := range committed {
		if made[name] == nil {
			t.Errorf("%s has no source; run go generate", name)
		}
	}
}

func filesBelow(t *testing.T, root fs.FS) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[path], err = fs.ReadFile(root, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJarIsTheSameEachTime(t *testing.T) {
	a, err := Jar()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Jar()
	if err != nil || !bytes.Equal(a, b) {
		t.Fatalf("two jars differ: %v", err)
	}
	file := filepath.Join(t.TempDir(), "agent.jar")
	if err := os.WriteFile(file, a, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("jar"); err != nil {
		t.Skip("no jar tool here: ", err)
	}
	out, err := exec.Command("jar", "tf", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "thaw/snapstart/Agent.class") || !strings.HasPrefix(string(out), "META-INF/MANIFEST.MF\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
