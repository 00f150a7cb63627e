package sandboxtest

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	if out, err := exec.Command("node", "-p", "process.execPath").Output(); err == nil {
		node := strings.TrimSpace(string(out))
		libraries, err := libraryMounts(filepath.Join(dir, "..", "libraries-node"), node)
		if err != nil {
			return nil, err
		}
		list = append(list, &function{
			name: "Node", argv: []string{"/var/lang/bin/node", "/var/task/function.js"},
			mounts: slices.Concat(task, libraries, []sandbox.Mount{{Source: node, Target: "/var/lang/bin/node"}}),
		})
	}
	const about = "import sys, os, ssl, sysconfig; print(os.path.realpath(sys.executable)); print(sys.base_prefix); print(sysconfig.get_path('platstdlib'))"
	if out, err := exec.Command("python3", "-c", about).Output(); err == nil {
		said := strings.Split(strings.TrimSpace(string(out)), "\n")
		exe, prefix := said[0], said[1]
		modules, err := filepath.Glob(filepath.Join(said[2], "lib-dynload", "*.so"))
		if err != nil {
			return nil, err
		}
		libraries, err := libraryMounts(filepath.Join(dir, "..", "libraries-python"), append(modules, exe)...)
		if err != nil {
			return nil, err
		}
		inside := strings.Replace(exe, prefix, "/var/lang", 1)
		list = append(list, &function{
			name: "Python", argv: []string{inside, "-B", "/var/task/function.py"},
			mounts: slices.Concat(task, libraries, []sandbox.Mount{{Source: prefix, Target: "/var/lang"}}),
			vars:   []string{"LD_LIBRARY_PATH=/var/lang/lib", "PYTHONHOME=/var/lang"},
		})
	}
	return list, nil
}

// shared is a shared object in what ldd says: NAME => PATH (ADDRESS), or the loader's PATH (ADDRESS).
var shared = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// libraryMounts puts the shared objects that programs load into a folder, and mounts it where they look. All of /usr would
// do as well, and does where there is no ldd, but a backend that makes images of what it mounts would make one of
// gigabytes.
func libraryMounts(dir string, programs ...string) (mounts []sandbox.Mount, err error) {
	if _, err := exec.LookPath("ldd"); err != nil {
		dir = "/"
	}
	if err := copyLibraries(dir, programs); err != nil {
		return nil, err
	}
	for _, target := range []string{"/usr", "/lib", "/lib64"} {
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, target)); err == nil {
			mounts = append(mounts, sandbox.Mount{Source: real, Target: target})
		}
	}
	return mounts, nil
}

func copyLibraries(dir string, programs []string) error {
	if _, err := os.Stat(dir); err == nil { // of the host, or made already
		return nil
	}
	out, err := exec.Command("ldd", programs...).Output()
	if err != nil {
		return fmt.Errorf("ldd: %w: %s", err, out)
	}
	for _, m := range shared.FindAllStringSubmatch(string(out), -1) {
		to := filepath.Join(dir, m[1])
		if _, err := os.Stat(to); err == nil {
			continue
		}
		text, err := os.ReadFile(m[1])
		if err == nil {
			err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, text, 0o755))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
