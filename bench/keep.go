package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measurePublish publishes revisions of functions: what a publish takes beyond the Init that the function needs in any case.
func measurePublish(ctx context.Context, o options, s *server) ([]result, error) {
	var out []result
	for _, f := range []subject{nodeHeap, pythonImport} {
		var total, init, beyond []float64
		var stages samples
		err := s.make(ctx, f)
		for i := 0; err == nil && i < max(3, o.rounds/2)+1; i++ {
			var p published
			if err = s.revise(ctx, f, i+1); err != nil {
				break
			}
			if p, err = s.publish(ctx, f); err != nil || i == 0 {
				continue // the first makes the sandboxes that wait for a snapshot
			}
			own, sum := -1.0, 0.0
			for _, st := range p.snapshot.Stages {
				if strings.HasPrefix(st.Name, "init") {
					own = st.Seconds * 1000
				}
				sum += st.Seconds * 1000
				stages.add(st.Name, st.Seconds*1000, 0)
			}
			if own < 0 {
				return nil, fmt.Errorf("the snapshot's stages name no Init: %+v", p.snapshot.Stages)
			}
			stages.add("rest: the test restore, records", ms(p.took)-sum, 0)
			total, init, beyond = append(total, ms(p.took)), append(init, own), append(beyond, ms(p.took)-own)
		}
		if err != nil {
			rs, err := orWords(f.what, err)
			if err != nil {
				return nil, err
			}
			out = append(out, rs...)
			continue
		}
		out = append(out, result{what: f.what + ", publish to Active", value: median(total), unit: "ms"}, result{what: f.what + ", Init of it", value: median(init), unit: "ms"},
			result{what: f.what + ", beyond Init", value: median(beyond), unit: "ms", aim: 1500})
		for _, st := range stages {
			out = append(out, result{what: f.what + ", stage " + st.name, value: median(st.wall), unit: "ms"})
		}
	}
	return out, nil
}

// revisions is how many versions measureStorage keeps.
const revisions = 20

// measureStorage publishes versions that differ in one line, and looks at the store's files.
func measureStorage(ctx context.Context, o options, s *server) ([]result, error) {
	var out []result
	for _, f := range []subject{nodeHello, pythonHello} {
		before, err := folderBytes(filepath.Join(s.dir, "snapshots", "store"))
		if err != nil {
			return nil, err
		}
		var one, all int64
		err = s.make(ctx, f)
		for i := 0; err == nil && i < revisions; i++ {
			if i > 0 {
				if err = s.revise(ctx, f, i); err != nil {
					break
				}
			}
			if _, err = s.publish(ctx, f); err != nil {
				break
			}
			if all, err = folderBytes(filepath.Join(s.dir, "snapshots", "store")); i == 0 {
				one = all
			}
		}
		if err != nil {
			rs, err := orWords(f.what, err)
			if err != nil {
				return nil, err
			}
			out = append(out, rs...)
			continue
		}
		out = append(out, result{what: f.what + ", one version", value: float64(one-before) / 1e6, unit: "MB"},
			result{what: fmt.Sprintf("%s, %d versions", f.what, revisions), value: float64(all-before) / 1e6, unit: "MB"},
			result{what: fmt.Sprintf("%s, %d versions : one", f.what, revisions), value: float64(all-before) / float64(one-before), aim: 2})
	}
	return out, nil
}

// folderBytes is the size of all files below dir; one that goes meanwhile counts nothing.
func folderBytes(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return ignoreGone(err)
	})
	return sum, err
}

func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// measureSnapshotMemory counts what one restored environment holds for itself alone.
func measureSnapshotMemory(ctx context.Context, _ options, s *server) ([]result, error) {
	var out []result
	for _, f := range []struct {
		subject
		aim float64
	}{{nodeHello, 25}, {nodeHeap, 60}} {
		p, err := s.makeAndPublish(ctx, f.subject)
		if err != nil {
			return nil, err
		}
		if err := s.gone(ctx, p); err != nil {
			return nil, err
		}
		if _, err := s.once(ctx, p, smallEvent); err != nil {
			return nil, err
		}
		if err := s.until(ctx, "frozen", 10*time.Second, func() (bool, error) { return s.frozen(ctx, p) }); err != nil {
			return nil, err
		}
		if err := pause(ctx, time.Second); err != nil {
			return nil, err
		}
		envs, err := s.environments(ctx, p)
		if err != nil {
			return nil, err
		}
		held, pages, err := s.privateMB(envs[0].PIDs)
		if err != nil {
			return nil, err
		}
		sum := pages
		for _, mb := range held {
			sum += mb
		}
		out = append(out, result{what: f.what + ", one restored environment", value: sum, unit: "MB", aim: f.aim},
			result{what: f.what + ", the function's pages", value: pages, unit: "MB"})
		for _, who := range []string{"sandbox", "gofer", "function"} {
			name := "process " + who
			if who == "function" {
				name = "processes that run its code"
			}
			out = append(out, result{what: f.what + ", " + name, value: held[who], unit: "MB"})
		}
	}
	return out, nil
}

// privateMB is what processes hold that nobody else does, in 10^6 bytes: anonymous memory and files in memory, by who they are; and apart from it the file
// in which gVisor keeps the pages of the function. What is mapped from executables is shared by all sandboxes. The page cache of files is the host's.
func (s *server) privateMB(pids []int) (held map[string]float64, pages float64, err error) {
	held = map[string]float64{}
	seen := map[uint64]bool{}
	for _, pid := range pids {
		who := s.who(pid)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return nil, 0, err
		}
		_, rest, found := strings.Cut(string(b), "\nPss_Anon:")
		if f := strings.Fields(rest); found && len(f) > 0 {
			kib, _ := strconv.ParseFloat(f[0], 64)
			held[who] += kib * 1024 / 1e6
		} else {
			return nil, 0, fmt.Errorf("process %d: the kernel tells no Pss_Anon", pid)
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			target, err := os.Readlink(fd)
			if err != nil || !strings.HasPrefix(target, "/memfd:") {
				continue
			}
			var st syscall.Stat_t
			if syscall.Stat(fd, &st) != nil || seen[st.Ino] {
				continue
			}
			seen[st.Ino] = true
			if mb := float64(st.Blocks) * 512 / 1e6; strings.Contains(target, "runsc-memory") {
				pages += mb
			} else {
				held[who] += mb
			}
		}
	}
	return held, pages, nil
}
