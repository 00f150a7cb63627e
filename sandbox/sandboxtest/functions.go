package sandboxtest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"thaw/sandbox"
)

// function is one whose snapshots are taken.
type function struct {
	name   string
	mounts []sandbox.Mount
	argv   []string
	vars   []string
}

//go:embed snapshotfn/function.js
var functionJS []byte

//go:embed snapshotfn/function.py
var functionPy []byte

var builtFunctions struct {
	once sync.Once
	list []*function
	err  error
}

// functions are those that this host can run.
func functions(t testing.TB) []*function {
	t.Helper()
	programs(t)
	f := &builtFunctions
	f.once.Do(func() { f.list, f.err = buildFunctions(filepath.Join(built.dir, "snapshotfn")) })
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.list
}

func buildFunctions(dir string) ([]*function, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{"function.js": functionJS, "function.py": functionPy} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	if err := buildProgram(filepath.Join(dir, "snapshotfn"), "thaw/sandbox/sandboxtest/snapshotfn"); err != nil {
		return nil, err
	}
	task := []sandbox.Mount{{Source: dir, Target: "/var/task"}}
	list := []*function{{name: "Go", mounts: task, argv: []string{"/var/task/snapshotfn"}}}
	libraries := append([]sandbox.Mount(nil), task...)
	for _, d := range []string{"/usr", "/lib", "/lib64"} {
		if real, err := filepath.EvalSymlinks(d); err == nil {
			libraries = append(libraries, sandbox.Mount{Source: real, Target: d})
		}
	}
	if node, err := exec.Command("node", "-p", "process.execPath").Output(); err == nil {
		list = append(list, &function{
			name: "Node", argv: []string{"/var/lang/bin/node", "/var/task/function.js"},
			mounts: append(libraries[:len(libraries):len(libraries)], sandbox.Mount{Source: strings.TrimSpace(string(node)), Target: "/var/lang/bin/node"}),
		})
	}
	if out, err := exec.Command("python3", "-c", "import sys, os, ssl; print(os.path.realpath(sys.executable)); print(sys.base_prefix)").Output(); err == nil {
		exe, prefix, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		inside := strings.Replace(exe, prefix, "/var/lang", 1)
		list = append(list, &function{
			name: "Python", argv: []string{inside, "-B", "/var/task/function.py"},
			mounts: append(libraries[:len(libraries):len(libraries)], sandbox.Mount{Source: prefix, Target: "/var/lang"}),
			vars:   []string{"LD_LIBRARY_PATH=/var/lang/lib", "PYTHONHOME=/var/lang"},
		})
	}
	return list, nil
}
