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
	"sync"
	"syscall"
	"time"
)

// soakWidth is how many environments of the soak live at one time.
const soakWidth = 24

// measureSoak restores one version again and again: soakWidth invokes at once that answer together, so that each needs an environment of its own, and the next
// ones when those environments have gone for want of use. Every answer is looked at, and before and after is counted what a restore could leave behind.
func measureSoak(ctx context.Context, o options, s *server) ([]result, error) {
	f := waiting
	f.what = "soak"
	p, err := s.makeAndPublish(ctx, f)
	if err != nil {
		return nil, err
	}
	k := soaking{s: s, p: p, hold: soakWidth * 150 * time.Millisecond, seen: map[string]bool{}}
	for range 2 { // what is made once is made now
		if err := k.batch(ctx); err != nil {
			return nil, err
		}
	}
	before, err := k.leavings(ctx)
	if err != nil {
		return nil, err
	}
	first, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for told := time.Now(); k.restored < float64(o.restores) && time.Since(began) < o.soakTime; {
		if err := k.batch(ctx); err != nil {
			return nil, err
		}
		now, err := s.metrics(ctx)
		if err != nil {
			return nil, err
		}
		k.restored = now[restored] - first[restored]
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "bench: soak: %.0f restores after %v, %d wrong answers, %d repeated values; server %.1f MB, launcher %.1f MB\n",
				k.restored, time.Since(began).Round(time.Second), k.wrong, k.repeated, anonMB(s.cmd.Process.Pid), anonMB(k.launcher))
		}
	}
	took := time.Since(began)
	after, err := k.leavings(ctx)
	if err != nil {
		return nil, err
	}
	last, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	out := []result{
		{what: "restores", value: k.restored}, {what: "time", value: took.Seconds(), unit: "s"}, {what: "throughput", value: k.restored / took.Seconds(), unit: "restores/s"},
		{what: "wrong answers", value: float64(k.wrong), none: true},
		{what: "restores that became an Init", value: last[fallbacks] - first[fallbacks], none: true},
		{what: "random values drawn", value: float64(len(k.seen))},
		{what: "random values that repeated", value: float64(k.repeated), none: true},
	}
	for i, l := range after {
		was := before[i]
		out = append(out, result{what: fmt.Sprintf("%s, growth from %.4g", l.what, was.n), value: l.n - was.n, unit: l.unit, none: l.none})
	}
	left, err := k.leftByTheServer(ctx)
	if err != nil {
		return nil, err
	}
	return append(out, result{what: "left when the server has ended: processes, mounts, cgroups, files", value: float64(left), none: true}), nil
}

// soaking is a soak under way.
type soaking struct {
	s    *server
	p    published
	hold time.Duration // from the sending of a batch to its answers

	restored        float64
	wrong, repeated int
	seen            map[string]bool
	cgroup          string // path of all the server's groups, below a hierarchy's mount
	launcher        int
	descriptors     map[string]int // of the launcher at the first count, by what they lead to
}

// batch brings soakWidth environments up, and waits until they are gone.
func (k *soaking) batch(ctx context.Context) error {
	before, err := k.s.metrics(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var took time.Duration // until all were restored; zero: they were not
	var watch sync.WaitGroup
	began := time.Now()
	watch.Go(func() {
		for took == 0 {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
			if m, err := k.s.metrics(ctx); err == nil && m[restored]-before[restored] >= soakWidth {
				took = time.Since(began)
			}
			if k.cgroup == "" {
				k.findCgroup(ctx)
			}
		}
	})
	answers := k.s.together(ctx, k.p, soakWidth, k.hold)
	close(ended)
	watch.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range answers {
		a := &answers[i]
		if !a.right() {
			if k.wrong++; k.wrong <= 5 {
				fmt.Fprintf(os.Stderr, "bench: soak: wrong answer: %v\n", a)
			}
			continue
		}
		for _, v := range a.Drawn {
			if k.seen[v] {
				if k.repeated++; k.repeated <= 5 {
					fmt.Fprintf(os.Stderr, "bench: soak: %q was drawn before\n", v)
				}
			}
			k.seen[v] = true
		}
	}
	if took == 0 { // somebody took a second event: next time they wait for longer
		k.hold = min(k.hold*3/2, 30*time.Second)
	} else {
		k.hold = max(took+took/4, 500*time.Millisecond)
	}
	return k.s.until(ctx, "without environments", time.Minute, func() (bool, error) {
		envs, err := k.s.environments(ctx, k.p)
		return len(envs) == 0, err
	})
}

// findCgroup learns from an environment where the server's groups are.
func (k *soaking) findCgroup(ctx context.Context) {
	envs, _ := k.s.environments(ctx, k.p)
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
func (k *soaking) leavings(ctx context.Context) ([]leaving, error) {
	server := k.s.cmd.Process.Pid
	still, last := time.Now(), -1
	if err := k.s.until(ctx, "at rest", time.Minute, func() (bool, error) {
		if n := len(children(server)); n != last {
			still, last = time.Now(), n
		}
		return time.Since(still) > 3*time.Second, nil
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
	launcher := k.launcher
	if launcher == 0 || k.cgroup == "" {
		return nil, errors.New("no launcher, or no cgroup of the server")
	}
	descriptors := descriptorsOf(launcher)
	for kind, n := range descriptors {
		if was := k.descriptors[kind]; k.descriptors != nil && n > was {
			fmt.Fprintf(os.Stderr, "bench: soak: the launcher has %d descriptors of %s, and had %d\n", n, kind, was)
		}
	}
	k.descriptors = descriptors
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
		{"mounts, launcher", "", mounts(launcher), true},
		{"cgroups", "", float64(len(k.cgroups())), true},
		{"descriptors, server", "", entries(server, "fd"), false}, // connections of this program among them
		{"descriptors, launcher", "", entries(launcher, "fd"), true},
		{"threads, launcher", "", entries(launcher, "task"), false},
		{"threads, server", "", entries(server, "task"), false},
		{"goroutines, server", "", m["go_goroutines"], false},
		{"memory, server", "MB", anonMB(server), false},
		{"heap in use, server", "MB", m["go_memstats_heap_inuse_bytes"] / 1e6, false},
		{"memory, launcher", "MB", anonMB(launcher), false},
	}
	folders, err := os.ReadDir(k.s.dir)
	if err != nil {
		return nil, err
	}
	for _, d := range folders {
		n, err := files(filepath.Join(k.s.dir, d.Name()))
		if err != nil {
			return nil, err
		}
		size, err := folderBytes(filepath.Join(k.s.dir, d.Name()))
		if err != nil {
			return nil, err
		}
		grows := d.Name() == "logs" || d.Name() == "records"
		out = append(out, leaving{"files and folders in " + d.Name(), "", n, !grows})
		if grows {
			out = append(out, leaving{"bytes in " + d.Name(), "MB", float64(size) / 1e6, false})
		}
	}
	return out, nil
}

// leftByTheServer ends the server and counts what is left of it.
func (k *soaking) leftByTheServer(ctx context.Context) (int, error) {
	below := children(k.s.cmd.Process.Pid)
	stopped := k.s.stop()
	left := len(k.cgroups())
	if left > 0 {
		fmt.Fprintf(os.Stderr, "bench: soak: cgroups are left: %q\n", k.cgroups())
	}
	for _, pid := range below {
		if st, err := readStat(pid); err == nil {
			fmt.Fprintf(os.Stderr, "bench: soak: process %d is left: %+v\n", pid, st)
			left++
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	if n := strings.Count(string(b), k.s.dir); n > 0 {
		fmt.Fprintf(os.Stderr, "bench: soak: %d mounts are left\n", n)
		left += n
	}
	if _, err := os.Stat(k.s.dir); !os.IsNotExist(err) {
		fmt.Fprintf(os.Stderr, "bench: soak: the data folder is left: %v\n", err)
		left++
	}
	if stopped != nil { // what the soak has found is told all the same
		fmt.Fprintf(os.Stderr, "bench: soak: the server did not end well: %v\n", stopped)
		left++
	}
	return left, ctx.Err()
}

// cgroups are the groups of sandboxes, in all hierarchies.
func (k *soaking) cgroups() []string {
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
