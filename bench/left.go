package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thaw/admin"
)

// remains counts what a server could leave behind.
type remains struct {
	s           *server
	paths       map[string]bool // of the data folder at the first count
	cgroup      string          // path of all the server's groups, below a hierarchy's mount
	launcher    int
	descriptors map[string]int // of the launcher at the first count, by what they lead to
}

// findCgroup learns from environments where the server's groups are.
func (k *remains) findCgroup(envs []admin.Environment) {
	for _, e := range envs {
		for _, pid := range e.PIDs {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
			for line := range strings.Lines(string(b)) { // ID:controllers:/thaw/SERVER/SANDBOX
				if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 && strings.HasPrefix(parts[2], "/thaw/") {
					k.cgroup = filepath.Dir(parts[2])
					return
				}
			}
		}
	}
}

// leaving is something that could be left behind; none: that must not grow at all.
type leaving struct {
	what, unit string
	n          float64
	none       bool
}

// leavings counts them when the server has come to rest.
func (k *remains) leavings(ctx context.Context) ([]leaving, error) {
	server := k.s.cmd.Process.Pid
	still, last := time.Now(), [3]float64{}
	if err := k.s.until(ctx, "at rest", 5*time.Minute, func() (bool, error) {
		n, err := files(k.s.dir) // what is deleted goes by and by
		held := 0.0
		below := children(server)
		for _, pid := range below {
			if k.s.who(pid) == "launcher" {
				held = entries(pid, "fd") // it closes what it held of a sandbox a second later
			}
		}
		if now := [3]float64{float64(len(below)), n, held}; now != last {
			still, last = time.Now(), now
		}
		return time.Since(still) > 5*time.Second, err
	}); err != nil {
		return nil, err
	}
	below := children(server)
	namespaces := map[uint64]bool{}
	zombies := 0
	for _, pid := range below {
		if k.s.who(pid) == "launcher" {
			k.launcher = pid
		}
		var st syscall.Stat_t
		if syscall.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil {
			namespaces[st.Ino] = true
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && strings.Contains(string(b), "State:\tZ") {
			zombies++
		}
	}
	m, err := k.s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	interfaces, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return nil, err
	}
	out := []leaving{
		{"processes below the server", "", float64(len(below)), true},
		{"of these, ended and not waited for", "", float64(zombies), true},
		{"network namespaces in use", "", float64(len(namespaces)), true},
		{"network interfaces of the host", "", float64(len(interfaces)), false}, // others may make some
		{"mounts, server", "", mounts(server), true},
		{"descriptors, server", "", entries(server, "fd"), false}, // connections of this program among them
		{"threads, server", "", entries(server, "task"), false},
		{"goroutines, server", "", m["go_goroutines"], false},
		{"memory, server", "MB", anonMB(server), false},
		{"heap in use, server", "MB", m["go_memstats_heap_inuse_bytes"] / 1e6, false},
	}
	if k.s.kind == "gvisor" {
		launcher, err := k.ofTheLauncher()
		if err != nil {
			return nil, err
		}
		out = append(out, launcher...)
	}
	folders, err := k.inFolders()
	return append(out, folders...), err
}

// ofTheLauncher is what gVisor's sandboxes alone can leave behind.
func (k *remains) ofTheLauncher() ([]leaving, error) {
	launcher := k.launcher
	if launcher == 0 || k.cgroup == "" {
		return nil, errors.New("no launcher, or no cgroup of the server")
	}
	descriptors := descriptorsOf(launcher)
	for kind, n := range descriptors {
		if was := k.descriptors[kind]; k.descriptors != nil && n > was {
			fmt.Fprintf(os.Stderr, "bench: the launcher has %d descriptors of %s, and had %d\n", n, kind, was)
		}
	}
	k.descriptors = descriptors
	return []leaving{
		{"mounts, launcher", "", mounts(launcher), true},
		{"cgroups", "", float64(len(k.cgroups())), true},
		{"descriptors, launcher", "", entries(launcher, "fd"), true},
		{"threads, launcher", "", entries(launcher, "task"), false},
		{"memory, launcher", "MB", anonMB(launcher), false},
	}, nil
}

// growing are the folders that grow with what is done, or, as those of JetStream do, by an index some minutes after a start.
var growing = []string{"logs", "records", "async"}

// inFolders is what lies in the data folder.
func (k *remains) inFolders() (out []leaving, err error) {
	folders, err := os.ReadDir(k.s.dir)
	if err != nil {
		return nil, err
	}
	k.tellNew()
	for _, d := range folders {
		n, err := files(filepath.Join(k.s.dir, d.Name()))
		if err != nil {
			return nil, err
		}
		what := "files and folders in "
		if d.Name() == "blobs" || d.Name() == "snapshots" { // folders by the first digits of a hash stay
			what = "files in "
			n -= foldersIn(filepath.Join(k.s.dir, d.Name()))
		}
		if _, err := os.Stat(filepath.Join(k.s.dir, d.Name(), "network")); err == nil { // devices that were told to forward; it comes and goes with the host's network
			n--
		}
		size, err := folderBytes(filepath.Join(k.s.dir, d.Name()))
		if err != nil {
			return nil, err
		}
		grows := slices.Contains(growing, d.Name())
		out = append(out, leaving{what + d.Name(), "", n, !grows})
		if grows {
			out = append(out, leaving{"bytes in " + d.Name(), "MB", float64(size) / 1e6, false})
		}
	}
	return out, nil
}

// tellNew names some of the files that were not there at the first count.
func (k *remains) tellNew() {
	now := map[string]bool{}
	told := map[string]int{}
	filepath.WalkDir(k.s.dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(k.s.dir, path)
		top, _, _ := strings.Cut(name, "/")
		if err != nil || d.IsDir() && (top == "blobs" || top == "snapshots") || slices.Contains(growing, top) {
			return nil
		}
		now[name] = true
		if k.paths != nil && !k.paths[name] && told[top] < 5 {
			told[top]++
			fmt.Fprintf(os.Stderr, "bench: new in the data folder: %s\n", name)
		}
		return nil
	})
	if k.paths == nil {
		k.paths = now
	}
}

// growth compares two counts, line by line.
func growth(before, after []leaving) (out []result) {
	was := map[string]float64{}
	for _, l := range before {
		was[l.what] = l.n
	}
	for _, l := range after {
		out = append(out, result{what: fmt.Sprintf("%s, growth from %.4g", l.what, was[l.what]), value: l.n - was[l.what], unit: l.unit, none: l.none})
	}
	return out
}

// leftByTheServer ends the server and counts what is left of it.
func (k *remains) leftByTheServer(ctx context.Context) (int, error) {
	below := children(k.s.cmd.Process.Pid)
	stopped := k.s.stop()
	left := len(k.cgroups())
	if left > 0 {
		fmt.Fprintf(os.Stderr, "bench: cgroups are left: %q\n", k.cgroups())
	}
	for _, pid := range below {
		if st, err := readStat(pid); err == nil {
			fmt.Fprintf(os.Stderr, "bench: process %d is left: %+v\n", pid, st)
			left++
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	if n := strings.Count(string(b), k.s.dir); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d mounts are left\n", n)
		left += n
	}
	if _, err := os.Stat(k.s.dir); !os.IsNotExist(err) {
		fmt.Fprintf(os.Stderr, "bench: the data folder is left: %v\n", err)
		left++
	}
	if stopped != nil { // what was found is told all the same
		fmt.Fprintf(os.Stderr, "bench: the server did not end well: %v\n", stopped)
		left++
	}
	return left, ctx.Err()
}

// cgroups are the groups of sandboxes, in all hierarchies.
func (k *remains) cgroups() []string {
	if k.cgroup == "" {
		return nil
	}
	b, _ := os.ReadFile("/proc/self/mountinfo")
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.Contains(line, " - cgroup") {
			continue
		}
		dirs, _ := os.ReadDir(f[4] + k.cgroup)
		for _, d := range dirs {
			if d.IsDir() {
				out = append(out, filepath.Join(f[4]+k.cgroup, d.Name()))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func mounts(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	return float64(strings.Count(string(b), "\n"))
}

func entries(pid int, folder string) float64 {
	list, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), folder))
	return float64(len(list))
}

// descriptorsOf counts the descriptors of a process by what they lead to, numbers aside.
func descriptorsOf(pid int) map[string]int {
	out := map[string]int{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		out[strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, target)]++
	}
	return out
}

func anonMB(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "\nRssAnon:")
	if f := strings.Fields(rest); len(f) > 0 {
		kib, _ := strconv.ParseFloat(f[0], 64)
		return kib * 1024 / 1e6
	}
	return 0
}

// files counts what is below a folder, or 1 for a file.
func files(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error {
		n++
		return ignoreGone(err)
	})
	return n, err
}

func foldersIn(dir string) (n float64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			n++
		}
		return nil
	})
	return n
}
