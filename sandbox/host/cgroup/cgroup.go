// Package cgroup gives every sandbox a group of its own in all hierarchies of the host: limits, freezer, memory, and the
// end of whatever runs in it. It works on version 1, version 2 and both.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Parent is the folder, in every hierarchy, under which all groups of all servers of a host lie: thaw/HASH/NAME, HASH
// of the backend's folder, NAME of the sandbox.
const Parent = "thaw"

// controllers that a sandbox is put under where they exist.
var controllers = []string{"memory", "cpu", "pids", "freezer"}

// Hierarchies are the host's, as one backend uses them. Three layouts exist: version 1 (one hierarchy for each controller), version 2 (one
// for all), and both mounted, where the controllers stand in version 1 and the version 2 hierarchy can do nothing but freeze and kill.
type Hierarchies struct {
	hash  string
	v1    map[string]string // controller -> mount
	v2    string            // mount; empty: none
	v2has map[string]bool   // controllers of v2, empty unless it is alone
	home  []string          // cgroup.procs of the server's own groups, in the order of mounts
}

// Home are the files by which a process goes back to the groups that the server itself is in.
func (c *Hierarchies) Home() []string { return c.home }

// V2 says whether version 2 is mounted, alone or beside version 1.
func (c *Hierarchies) V2() bool { return c.v2 != "" }

// Open finds the hierarchies and makes the parent groups. ignoreV1 is for tests: the host then looks like one of version 2.
func Open(hash string, ignoreV1 bool) (*Hierarchies, error) {
	c := &Hierarchies{hash: hash, v1: make(map[string]string), v2has: make(map[string]bool)}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	defer f.Close()
	if err := c.find(f, ignoreV1); err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	if c.v2 != "" {
		b, _ := os.ReadFile(filepath.Join(c.v2, "cgroup.controllers"))
		for _, name := range strings.Fields(string(b)) {
			c.v2has[name] = true
		}
	}
	if c.v2 == "" && c.v1["freezer"] == "" {
		return nil, errors.New("no cgroup hierarchy that freezes is mounted on this host: mount cgroup2 at /sys/fs/cgroup")
	}
	if err := c.findHome(); err != nil {
		return nil, err
	}
	return c, c.makeParents()
}

// usual is the folder that hierarchies are mounted in. Elsewhere there are those that somebody else has mounted, for containers or for a
// while: they count only where there is no other.
const usual = "/sys/fs/cgroup"

// find reads a mountinfo.
func (c *Hierarchies) find(mountinfo io.Reader, ignoreV1 bool) error {
	ours := func(dir string) bool { return dir == usual || strings.HasPrefix(dir, usual+"/") }
	better := func(old, dir string) bool { return old == "" || ours(dir) && !ours(old) }
	sc := bufio.NewScanner(mountinfo)
	for sc.Scan() {
		// ID parent major:minor root mount options [optional] - type source super-options. Source: proc_pid_mountinfo(5).
		left, right, ok := strings.Cut(sc.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup2":
			if better(c.v2, l[4]) {
				c.v2 = l[4]
			}
		case "cgroup":
			if ignoreV1 {
				continue
			}
			for _, o := range strings.Split(r[2], ",") {
				for _, name := range controllers {
					if o == name && better(c.v1[name], l[4]) {
						c.v1[name] = l[4]
					}
				}
			}
		}
	}
	if c.v1["freezer"] != "" && ours(c.v1["freezer"]) && !ours(c.v2) {
		c.v2 = ""
	}
	return sc.Err()
}

// findHome finds the server's own groups, where the launcher goes back to.
func (c *Hierarchies) findHome() error {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	own := make(map[string]string) // mount -> path
	for line := range strings.Lines(string(b)) {
		// ID:controller,controller:path, and 0::path for version 2. Source: cgroups(7).
		p := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(p) != 3 {
			continue
		}
		if p[1] == "" {
			own[c.v2] = p[2]
		}
		for _, name := range strings.Split(p[1], ",") {
			if m, ok := c.v1[name]; ok {
				own[m] = p[2]
			}
		}
	}
	for _, m := range c.mounts() {
		procs := filepath.Join(m, own[m], "cgroup.procs")
		if _, err := os.Stat(procs); err != nil { // a container that sees only its part of the hierarchy
			procs = filepath.Join(m, "cgroup.procs")
		}
		c.home = append(c.home, procs)
	}
	return nil
}

// v1mounts are the mounts of version 1, each once, in a fixed order: controllers may share one.
func (c *Hierarchies) v1mounts() []string {
	var out []string
	seen := make(map[string]bool)
	for _, name := range controllers {
		if m, ok := c.v1[name]; ok && !seen[m] {
			seen[m] = true
			out = append(out, m)
		}
	}
	return out
}

func (c *Hierarchies) mounts() []string {
	m := c.v1mounts()
	if c.v2 != "" {
		m = append(m, c.v2)
	}
	return m
}

func (c *Hierarchies) makeParents() error {
	for _, m := range c.mounts() {
		p := filepath.Join(m, Parent, c.hash)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return fmt.Errorf("cgroups: %w", err)
		}
		if m == c.v1["cpu"] {
			for _, dir := range []string{filepath.Dir(p), p} {
				if err := os.WriteFile(filepath.Join(dir, "cpu.shares"), []byte(strconv.Itoa(parentShares())), 0); err != nil {
					return fmt.Errorf("cgroups: %w", err)
				}
			}
		}
		if m != c.v2 || len(c.v1) > 0 {
			continue
		}
		// Controllers are handed down level by level. Where the root has processes of its own and is not the real root (a
		// container), that is refused: then there are no limits, and Capabilities say so.
		for _, dir := range []string{m, filepath.Dir(p), p} {
			for name := range c.v2has {
				os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
			}
		}
		for _, dir := range []string{filepath.Dir(p), p} { // absent without the controller
			os.WriteFile(filepath.Join(dir, "cpu.weight"), []byte(strconv.Itoa(min(parentShares()*weightOne/sharesOne, 10000))), 0)
		}
		b, _ := os.ReadFile(filepath.Join(p, "cgroup.subtree_control"))
		c.v2has = make(map[string]bool)
		for _, name := range strings.Fields(string(b)) {
			c.v2has[name] = true
		}
	}
	return nil
}

// What counts as one ordinary claim on the processor, in the units of either version. Source: kernel documentation, cpu.shares and cpu.weight.
const (
	sharesOne = 1024
	weightOne = 100
)

// parentShares is the claim of all sandboxes together. Left alone it would be that of a single thread of the server, which stands beside them:
// two for every core lets neither starve the other.
func parentShares() int { return 2 * sharesOne * runtime.NumCPU() }

// patientPart is the part of an ordinary claim that a blank sandbox has while it is made for nobody yet.
const patientPart = 10

// Claim sets how much of the processor the group gets when it is contended.
func (g *Group) Claim(patient bool) error {
	if !g.c.HasCPU() {
		return nil
	}
	part := 1
	if patient {
		part = patientPart
	}
	if g.c.onlyV2() {
		return g.write("cpu", "cpu.weight", strconv.Itoa(weightOne/part))
	}
	return g.write("cpu", "cpu.shares", strconv.Itoa(sharesOne/part))
}

func (c *Hierarchies) onlyV2() bool { return len(c.v1) == 0 && c.v2 != "" }

// HasMemory says whether memory is counted and limited.
func (c *Hierarchies) HasMemory() bool {
	return c.v1["memory"] != "" || (c.onlyV2() && c.v2has["memory"])
}

// HasCPU says whether processor time can be limited.
func (c *Hierarchies) HasCPU() bool { return c.v1["cpu"] != "" || (c.onlyV2() && c.v2has["cpu"]) }

// Group is one sandbox's place in every hierarchy.
type Group struct {
	c   *Hierarchies
	rel string // below a hierarchy's mount
}

// Make makes the group of one sandbox. A group that was made in part comes with the error, to be removed.
func (c *Hierarchies) Make(name string) (*Group, error) {
	g := &Group{c: c, rel: filepath.Join(Parent, c.hash, name)}
	for _, m := range c.mounts() {
		if err := os.Mkdir(filepath.Join(m, g.rel), 0o755); err != nil {
			return g, fmt.Errorf("cgroup: %w", err)
		}
	}
	return g, nil
}

// Procs are the files that a process is written to when it enters the group.
func (g *Group) Procs() (files []string) {
	for _, dir := range g.dirs() {
		files = append(files, filepath.Join(dir, "cgroup.procs"))
	}
	return files
}

// file is the path of a control file; of the hierarchy of a controller in version 1, or of version 2.
func (g *Group) file(controller, name string) string {
	if m, ok := g.c.v1[controller]; ok {
		return filepath.Join(m, g.rel, name)
	}
	return filepath.Join(g.c.v2, g.rel, name)
}

func (g *Group) write(controller, name, value string) error {
	if err := os.WriteFile(g.file(controller, name), []byte(value), 0); err != nil {
		return fmt.Errorf("cgroup %s %s: %w", name, value, err)
	}
	return nil
}

// PIDs are all processes in the group, whatever they are.
func (g *Group) PIDs() []int {
	if g == nil {
		return nil
	}
	return PIDs(filepath.Join(g.c.mounts()[0], g.rel))
}

// Kill ends every process in the group, frozen or not. It does not wait.
func (g *Group) Kill() { Kill(g.dirs()) }

// dirs are the folders of a group, one in each hierarchy.
func (g *Group) dirs() []string {
	dirs := g.c.mounts()
	for i, m := range dirs {
		dirs[i] = filepath.Join(m, g.rel)
	}
	return dirs
}

// removeLimit bounds the wait for the last process of a killed group.
const removeLimit = 10 * time.Second

// Remove deletes the group. Its processes have been killed; the last may still be on their way out.
func (g *Group) Remove() error {
	if err := Remove(g.dirs(), time.Now().Add(removeLimit)); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// Leftovers are the groups below the backend's own parents: of sandboxes that live, and of those that a former server had.
func (c *Hierarchies) Leftovers() (list []*Group) {
	seen := map[string]bool{}
	for _, m := range c.mounts() {
		ents, err := os.ReadDir(filepath.Join(m, Parent, c.hash))
		if err != nil {
			continue
		}
		for _, e := range ents {
			if e.IsDir() && !seen[e.Name()] {
				seen[e.Name()] = true
				list = append(list, &Group{c: c, rel: filepath.Join(Parent, c.hash, e.Name())})
			}
		}
	}
	return list
}

// RemoveParents removes what Open made, as far as nobody uses it.
func (c *Hierarchies) RemoveParents() {
	for _, m := range c.mounts() {
		unix.Rmdir(filepath.Join(m, Parent, c.hash))
		unix.Rmdir(filepath.Join(m, Parent)) // fails while another server is there
	}
}
