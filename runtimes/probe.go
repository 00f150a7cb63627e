package runtimes

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// probed is what an interpreter said when it was asked, and the state of its file then.
type probed struct {
	state  string
	answer string
	err    error
}

// probeLimit bounds the question to an interpreter: a few tens of milliseconds are usual, but a busy machine may need seconds.
const probeLimit = 20 * time.Second

// askLocked runs an interpreter with args and returns what it printed; the answer is remembered until the file changes.
func (r *Registry) askLocked(path string, args ...string) (string, error) {
	state := stateOf([]string{path})
	if p, ok := r.probes[path]; ok && p.state == state {
		return p.answer, p.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	p := probed{state: state, answer: strings.TrimSpace(string(out)), err: err}
	if ctx.Err() == nil { // a busy machine says nothing about the interpreter
		r.probes[path] = p
	}
	return p.answer, p.err
}

// onPath lists the real files behind every program of one of these names: on PATH, in the usual folders (a service's PATH is short),
// and at patterns, in which ~ is the home folder. Each file once, in that order.
func onPath(names, patterns []string) []string {
	var found []string
	add := func(path string) {
		real, err := filepath.EvalSymlinks(path)
		if err != nil || !isFile(real) || slices.Contains(found, real) {
			return
		}
		if info, err := os.Stat(real); err == nil && info.Mode()&0o111 != 0 {
			found = append(found, real)
		}
	}
	folders := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/bin", "/usr/bin", "/bin")
	for _, folder := range folders {
		for _, name := range names {
			if filepath.IsAbs(folder) {
				add(filepath.Join(folder, name))
			}
		}
	}
	home, _ := os.UserHomeDir()
	for _, pattern := range patterns {
		if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
			if home == "" {
				continue
			}
			pattern = filepath.Join(home, rest)
		}
		matches, _ := filepath.Glob(pattern)
		slices.Reverse(matches) // usually the newest first
		for _, m := range matches {
			add(m)
		}
	}
	return found
}
