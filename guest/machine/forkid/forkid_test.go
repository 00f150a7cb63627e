package forkid

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// copies is a program of Python that stands for a machine: it is process 1 of its namespace, and what it forks is, too. So its children
// are copies of its memory that see the same getpid, and OpenSSL cannot tell them from it.
const copies = `
import ctypes, os, ssl, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE, NEWPID, SIGCHLD = 56, 0x20000000, 17
def copy():
    r, w = os.pipe()
    pid = libc.syscall(CLONE, NEWPID | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os.write(w, b"%d %s" % (os.getpid(), ssl.RAND_bytes(16).hex().encode()))
        os._exit(0)
    if pid < 0:
        sys.exit("clone: %d" % ctypes.get_errno())
    os.close(w)
    text = os.read(r, 1000).decode()
    os.close(r)
    os.waitpid(pid, 0)
    return text
ssl.RAND_bytes(16)
for line in sys.stdin:
    print(";".join([copy() for _ in range(3)]), flush=True)
`

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the memory of other processes needs root")
	}
}

// start runs a program as process 1 of its namespace. ask gives its answer to a line, stop makes it stand still.
func start(t *testing.T, name string, args ...string) (pid int, ask func() string, stop, resume func()) {
	t.Helper()
	exe, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	cmd.Stderr = t.Output()
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	r := bufio.NewReader(out)
	ask = func() string {
		t.Helper()
		io.WriteString(in, "\n")
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	signal := func(s syscall.Signal, state string) func() {
		return func() {
			t.Helper()
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			for {
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
				if err != nil {
					t.Fatal(err)
				}
				_, after, _ := strings.Cut(string(b), ") ")
				if strings.HasPrefix(after, "T") == (state == "T") {
					return
				}
			}
		}
	}
	return cmd.Process.Pid, ask, signal(syscall.SIGSTOP, "T"), signal(syscall.SIGCONT, "R")
}

func procFolder(t *testing.T) *os.File {
	t.Helper()
	proc, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close() })
	return proc
}

// Copies of a process that drew from OpenSSL draw the same; once it was prepared, they do not, and see the pid that they
// have. A copy of a copy is another time.
func TestCopiesDrawFromOpenSSLAnew(t *testing.T) {
	needRoot(t)
	pid, ask, stop, resume := start(t, "python3", "-c", copies)
	draw := func() (values []string) {
		t.Helper()
		for _, answer := range strings.Split(ask(), ";") {
			id, value, _ := strings.Cut(answer, " ")
			if id != "1" {
				t.Fatalf("a copy is process %s: %q", id, answer)
			}
			values = append(values, value)
		}
		return values
	}
	before := draw()
	if len(slices.Compact(slices.Clone(before))) != 1 {
		t.Fatalf("copies drew %v without being prepared: this test tests nothing", before)
	}
	seen := map[string]bool{before[0]: true}
	for generation := range uint32(3) {
		stop()
		if err := Renew(procFolder(t), []int{pid, 1 << 30}, generation+1); err != nil {
			t.Fatal(err)
		}
		resume()
		for _, v := range draw() {
			if seen[v] || len(v) != 32 {
				t.Errorf("generation %d: %s was drawn before", generation+1, v)
			}
			seen[v] = true
		}
	}
}

// Node has OpenSSL inside. Its program's own getpid stays what it is.
func TestNodeIsLedElsewhere(t *testing.T) {
	needRoot(t)
	exe := node(t)
	const source = `const c = require('node:crypto'); require('node:readline').createInterface({ input: process.stdin }).on('line', () => console.log(process.pid, c.randomBytes(16).toString('hex')))`
	pid, ask, stop, resume := start(t, exe, "-e", source)
	first := ask()
	proc := procFolder(t)
	for generation := range uint32(2) {
		stop()
		if err := Renew(proc, []int{pid}, generation+1); err != nil {
			t.Fatal(err)
		}
		if got, want := leads(t, proc, pid), instructions(offset(generation+1)); string(got) != string(want) {
			t.Errorf("generation %d: OpenSSL runs % x, want % x", generation+1, got, want)
		}
		resume()
		if got := ask(); !strings.HasPrefix(got, "1 ") || len(got) != len(first) || got == first {
			t.Errorf("generation %d: Node answers %q", generation+1, got)
		}
	}
}

// leads is what the way of a process's OpenSSL leads to.
func leads(t *testing.T, proc *os.File, pid int) []byte {
	t.Helper()
	dir := fmt.Sprint(pid)
	maps, err := mappings(proc, dir)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := open(proc, dir+"/mem", unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	p := process{mem: mem, images: images(maps)}
	for _, im := range p.images {
		pt, err := p.find(proc, dir, im, &files{known: make(map[fileID]uint64)})
		if err != nil {
			t.Fatal(err)
		}
		if pt == nil {
			continue
		}
		to, err := p.target(pt)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(instructions(0)))
		if err := p.read(b, to); err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatal("no OpenSSL was found")
	return nil
}

// node is one of Node's own releases, which other tests have fetched, or the one of the host.
func node(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("THAW_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(base, "thaw-test")
	}
	for _, pattern := range []string{"nodejs2*/bin/node"} {
		if list, _ := filepath.Glob(filepath.Join(dir, "runtimes", pattern)); len(list) > 0 {
			return list[0]
		}
	}
	t.Skip("no release of Node was fetched yet")
	return ""
}

// A generation that a number cannot hold begins again; one never follows itself.
func TestOffsets(t *testing.T) {
	for g := range uint32(2000) {
		a, b := offset(g+1), offset(g+2)
		if a == b || a == 0 || int32(a+1<<22-1) < 0 {
			t.Fatalf("generations %d and %d: %x, %x", g+1, g+2, a, b)
		}
	}
}

func TestOperand(t *testing.T) {
	for _, c := range []struct {
		code []byte
		want int
	}{
		{[]byte{0xe9, 1, 2, 3, 4}, 1},
		{[]byte{0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 1, 2, 3, 4}, 5},
		{[]byte{0x55, 0x48, 0x89, 0xe5, 0xe8, 1, 2, 3, 4, 0x5d, 0xc3}, 5},
		{[]byte{0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x08, 0xe8, 1, 2, 3, 4}, 9},
		{[]byte{0xe8, 1, 2, 3, 4}, 0}, // the stack would not be aligned
		{[]byte{0x31, 0xc0, 0xc3}, 0},
		{nil, 0},
	} {
		if got := operand(c.code); got != c.want {
			t.Errorf("% x: %d, want %d", c.code, got, c.want)
		}
	}
}
