package jail_test

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/fcapi/fcapitest"
	"thaw/sandbox/firecracker/install/installtest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/cgroup"
)

// This program is the fake Firecracker, too, where it bears its name.
func TestMain(m *testing.M) {
	if fcapitest.IsProgram() {
		os.Exit(fcapitest.Main())
	}
	code := m.Run()
	os.RemoveAll(program.dir)
	os.Exit(code)
}

// testUID is the user of a test's jails: nobody else's.
const testUID = 61234

// jailer is the real one.
func jailer(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the jailer needs root")
	}
	return installtest.Programs(t).Jailer
}

// fake is the path of a fake Firecracker of a release.
func fake(t testing.TB, release string) string {
	t.Helper()
	program.once.Do(func() { program.path, program.err = fakeProgram() })
	if program.err != nil {
		t.Fatal(program.err)
	}
	path := filepath.Join(t.TempDir(), "firecracker-"+release)
	if err := os.Link(program.path, path); err == nil {
		return path
	}
	b, err := os.ReadFile(program.path)
	if err == nil {
		err = os.WriteFile(path, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is the fake, which must be static: a jail has no libraries.
var program struct {
	once sync.Once
	path string
	dir  string // removed in the end; empty: none
	err  error
}

// fakeProgram is this test's own program, else one that is built.
func fakeProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := elf.Open(self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return self, nil
	}
	if program.dir, err = os.MkdirTemp("", "thaw-jail-"); err != nil {
		return "", err
	}
	path := filepath.Join(program.dir, "firecracker")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "thaw/sandbox/firecracker/fcapi/fcapitest/firecracker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	return path, nil
}

// monitor is the fake in the real jailer.
func monitor(t testing.TB) *jail.Monitor {
	t.Helper()
	m, err := jail.New(t.Context(), jail.Options{Firecracker: fake(t, fcapitest.DefaultVersion), Jailer: jailer(t)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// groups are the host's, for one test.
func groups(t testing.TB) *cgroup.Hierarchies {
	t.Helper()
	c, err := cgroup.Open(fmt.Sprintf("jail%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-")), false)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(c.RemoveParents)
	return c
}

// console collects what a process says.
type console struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// slot makes a slot, which is taken apart when the test ends: nothing of its machine may be left then.
func slot(t testing.TB, c *cgroup.Hierarchies, name string) vmm.Slot {
	t.Helper()
	g, err := c.Make(name)
	if err != nil {
		t.Fatal(err)
	}
	s := vmm.Slot{Name: name, Dir: t.TempDir(), UID: testUID, GID: testUID, Group: g, Console: &console{}}
	if err := os.Chown(s.Dir, testUID, testUID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := g.PIDs(); len(left) > 0 {
			t.Errorf("slot %s still has processes %v", name, left)
		}
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open opens a machine, which is closed before its slot is looked at.
func open(t testing.TB, m vmm.Monitor, s vmm.Slot) vmm.Machine {
	t.Helper()
	x, err := m.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// config is what a machine is made of, in a folder of one file system.
func config(t testing.TB, dir string) vmm.Config {
	t.Helper()
	c := vmm.Config{MemoryMiB: 4, Kernel: filepath.Join(dir, "vmlinux"), Initramfs: filepath.Join(dir, "initramfs"), Drives: []vmm.Drive{
		{Path: filepath.Join(dir, "code")}, {Path: filepath.Join(dir, "tmp"), Writable: true}}}
	for path, mode := range map[string]os.FileMode{c.Kernel: 0o600, c.Initramfs: 0o644, c.Drives[0].Path: 0o444, c.Drives[1].Path: 0o600} {
		if err := os.WriteFile(path, []byte(filepath.Base(path)), mode); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// ask says a line to a port until it is answered.
func ask(t testing.TB, x vmm.Machine, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c, err := x.Dial(ctx, 1024)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(c, line)
		answer, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err == nil {
			return strings.TrimSpace(answer)
		}
	}
}

// otherFileSystem is a folder of another file system than dir's.
func otherFileSystem(t testing.TB, dir string) string {
	t.Helper()
	other := t.TempDir()
	if err := unix.Mount("tmpfs", other, "tmpfs", 0, "mode=755"); err != nil {
		t.Skip("no other file system: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(other, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return other
}

// status is a line of a process's status.
func status(t testing.TB, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return ""
}

// The process is alone: another user without rights, the first of its process namespace, in its own root and network.
func TestTheJail(t *testing.T) {
	t.Parallel()
	m, c := monitor(t), groups(t)
	s := slot(t, c, "alone")
	ns := networkNamespace(t)
	s.Network, s.Tap = ns, "tap0"
	x := open(t, m, s)
	pid := x.PIDs()[0]
	for name, want := range map[string]string{
		"Uid": "61234 61234 61234 61234", "Gid": "61234 61234 61234 61234", "Groups": "", "CapEff": "0000000000000000", "CapPrm": "0000000000000000",
	} {
		if got := status(t, pid, name); got != want {
			t.Errorf("its %s is %q, want %q", name, got, want)
		}
	}
	if got := strings.Fields(status(t, pid, "NSpid")); len(got) < 2 || got[len(got)-1] != "1" {
		t.Errorf("in its process namespace it is %v", got)
	}
	if got := s.Group.PIDs(); len(got) != 1 || got[0] != pid {
		t.Errorf("its group holds %v, want %d", got, pid)
	}
	var in, want unix.Stat_t
	if err := errors.Join(unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &in), unix.Fstat(int(ns.Fd()), &want)); err != nil || in.Ino != want.Ino {
		t.Errorf("it is in the network %d, want %d: %v", in.Ino, want.Ino, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !strings.Contains(string(limits), "68719476736") || !strings.Contains(string(limits), " 1024 ") {
		t.Errorf("its limits are %s, %v", limits, err)
	}
	inside := config(t, t.TempDir())
	if err := x.Boot(t.Context(), inside); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/etc/passwd": "no such file", "/firecracker-1.12.1": "permission denied", "/vmlinux": "permission denied", "/initramfs": "permission denied",
		"/drive0": "permission denied", "/drive1": "it may",
	} {
		if got := ask(t, x, "write "+path); !strings.Contains(got, want) {
			t.Errorf("to write %s: %s, want %s", path, got, want)
		}
	}
}

// networkNamespace makes one, without a device.
func networkNamespace(t testing.TB) *os.File {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	defer in.Close()
	fmt.Fprintln(in, "there")
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Skip("no network namespace: ", err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// A process that ends by itself says why; a closed one does not. Also one that is frozen ends.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	m, c := monitor(t), groups(t)
	s := slot(t, c, "killed")
	x := open(t, m, s)
	cfg := config(t, t.TempDir())
	if _, err := x.Dial(t.Context(), 1); err == nil {
		t.Error("a machine that was not started is dialled")
	}
	if first, second := x.Boot(t.Context(), cfg), x.Boot(t.Context(), cfg); first != nil || second == nil {
		t.Errorf("it boots: %v; and again: %v", first, second)
	}
	if err := unix.Kill(x.PIDs()[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-x.Exited()
	if err := x.Err(); err == nil || !strings.Contains(err.Error(), "killed") || len(x.PIDs()) > 0 {
		t.Errorf("killed, it says %v; its processes are %v", err, x.PIDs())
	}
	if _, err := x.Dial(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("to dial it: %v", err)
	}
	s = slot(t, c, "failed")
	x = open(t, m, s)
	dir := t.TempDir()
	err := x.Restore(t.Context(), vmm.Config{}, vmm.Saved{State: file(t, dir, "empty"), Memory: file(t, dir, "memory")})
	if err == nil || !strings.Contains(err.Error(), "smaller than CRC") {
		t.Errorf("a restore from nothing: %v", err)
	}
	<-x.Exited()
	if err := x.Err(); err == nil || !strings.Contains(err.Error(), "exiting with error") {
		t.Errorf("its last words are %v", err)
	}
	s = slot(t, c, "frozen")
	x = open(t, m, s)
	if err := s.Group.SetFrozen(true, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Close(), x.Close(), x.Err()); err != nil {
		t.Error(err)
	}
	if x.Boot(t.Context(), cfg) == nil {
		t.Error("a closed machine boots")
	}
}

func file(t testing.TB, dir, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What stands in a socket's place is not followed.
func TestALinkInPlaceOfASocket(t *testing.T) {
	t.Parallel()
	m, c := monitor(t), groups(t)
	s := slot(t, c, "link")
	x := open(t, m, s)
	if err := x.Boot(t.Context(), config(t, t.TempDir())); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(s.Dir, "firecracker-1.12.1", s.Name, "root")
	if err := errors.Join(os.Rename(root+"/v.sock", root+"/moved"), os.Symlink("moved", root+"/v.sock")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := x.Dial(ctx, 1024); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("it is followed: %v", err)
	}
}

// Which releases are taken, and what is said of them.
func TestReleases(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	for release, want := range map[string]string{"1.11.0": "too old", "1.12.1": "", "1.16.1": "loses the machine's ports", "1.99.0": "newer than"} {
		said.Reset()
		m, err := jail.New(t.Context(), jail.Options{Firecracker: fake(t, release), Unjailed: true, Log: log})
		if release == "1.11.0" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", release, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), want) || !strings.Contains(said.String(), "without its jailer") {
			t.Errorf("%s: it says %s", release, &said)
		}
		if key := m.Key(); m.Name() != "firecracker" || !strings.HasPrefix(key, release+" ") || !strings.Contains(key, " linux ") {
			t.Errorf("%s has the key %q", release, key)
		}
	}
	for _, path := range []string{"", "/none/firecracker"} {
		var missing *vmm.MissingError
		if _, err := jail.New(t.Context(), jail.Options{Firecracker: path}); !errors.As(err, &missing) || !strings.Contains(err.Error(), "thaw sandbox install") {
			t.Errorf("%q: %v", path, err)
		}
	}
	if _, err := jail.New(t.Context(), jail.Options{Firecracker: fake(t, "1.15.0"), Jailer: jailer(t)}); err == nil || !strings.Contains(err.Error(), "same release") {
		t.Errorf("another release's jailer: %v", err)
	}
}
