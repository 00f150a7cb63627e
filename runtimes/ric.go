package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ricName is AWS's own client for Node. No runtime identifier uses it; it runs as the bootstrap of an OS-only function.
const ricName = "aws-lambda-ric"

// RIC is the folder of AWS's own Node client once Install(ctx, "aws-lambda-ric", ...) has put it there; "" before. It holds
// node_modules/aws-lambda-ric/index.mjs, the program to run with Node 22 or later, and node/bin/node, the Node it was built for.
func (r *Registry) RIC() string {
	dir := r.ricFolder()
	if !isFile(filepath.Join(dir, "node_modules", ricName, "index.mjs")) {
		return ""
	}
	return dir
}

func (r *Registry) ricFolder() string {
	c, _ := componentFor(ricName)
	return filepath.Join(r.dir, "built-"+c.folder())
}

// installRIC fetches the client, then compiles it with npm against the headers of a Node from the registry, so that nothing is
// downloaded that no registry vouches for. It takes one to three minutes.
func (r *Registry) installRIC(ctx context.Context, progress func(string)) (string, error) {
	dir := r.ricFolder()
	if r.RIC() != "" {
		progress(ricName + ": here already")
		return dir, nil
	}
	for _, tool := range []struct{ program, packages string }{
		{"npm", "npm"}, {"cmake", "cmake"}, {"make", "make"}, {"g++", "g++"}, {"python3", "python3"}, {"tar", "tar"}, {"xz", "xz-utils"},
	} {
		if _, err := exec.LookPath(tool.program); err != nil {
			return "", &NotInstalledError{Identifier: ricName, Missing: tool.program, Install: "apt-get update && apt-get install -y " + tool.packages}
		}
	}
	node, err := r.installComponent(ctx, "nodejs22", progress, nil)
	if err != nil {
		return "", err
	}
	source, err := r.installComponent(ctx, ricName, progress, nil)
	if err != nil {
		return "", err
	}
	return dir, r.locked(ctx, filepath.Base(dir), progress, func() error {
		return r.makeFolder(dir, func(tmp string) error {
			progress("compiling " + ricName + " (cmake, make, g++): one to three minutes")
			if err := os.Symlink(node, filepath.Join(tmp, "node")); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(tmp, "package.json"), []byte("{\"private\":true}\n"), 0o644); err != nil {
				return err
			}
			// A packed copy, because npm links folders and the client's install script wants to stand in node_modules. The bytes are
			// those whose hash was checked.
			work, err := os.MkdirTemp("", "thaw-ric-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(work)
			pack := exec.CommandContext(ctx, "npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", work, source)
			if out, err := pack.CombinedOutput(); err != nil {
				return fmt.Errorf("npm pack: %w\n%s", err, tail(out))
			}
			tarballs, _ := filepath.Glob(filepath.Join(work, "*.tgz"))
			if len(tarballs) != 1 {
				return fmt.Errorf("npm pack left %d packages", len(tarballs))
			}
			build := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-audit", "--no-fund", "--foreground-scripts", tarballs[0])
			build.Dir = tmp
			build.Env = append(os.Environ(), "npm_config_nodedir="+node, "PATH="+filepath.Join(node, "bin")+":"+os.Getenv("PATH"))
			if out, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("npm install: %w\n%s", err, tail(out))
			}
			return nil
		})
	})
}

// tail is the end of a program's output, where the reason stands.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
