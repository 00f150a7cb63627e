package machine_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
	"thaw/guest/wire"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/kernel"
	"thaw/sandbox/firecracker/qemu"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.RemovePrograms()
	os.Exit(code)
}

// Everything here is emulated, on a machine that others use, too.
const patience = 3 * time.Minute

const (
	memoryMiB  = 128 // of the function
	machineMiB = memoryMiB + 128
	uid, gid   = 993, 990
)

// lab is what machines are made of.
type lab struct {
	monitor vmm.Monitor
	config  vmm.Config
	mounts  []control.Mount
	tmp     int // drive of /tmp
	tmpPath string
}

// newLab makes it, or skips the test.
func newLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("it boots a machine")
	}
	monitor, err := qemu.New(t.Context())
	if err != nil {
		t.Skip(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	vmlinux, modules := os.Getenv("THAW_TEST_GUEST_KERNEL"), "" // one that has all built in
	if vmlinux == "" {
		k, err := kernel.Debian(t.Context(), filepath.Join(cache, "thaw", "kernel"), kernel.Cloud)
		if err != nil {
			t.Skip("no kernel for machines: ", err)
		}
		vmlinux, modules = k.Vmlinux, filepath.Dir(k.Modules[0])
	}
	dir := t.TempDir()
	l := &lab{monitor: monitor}
	archive, err := os.Create(filepath.Join(dir, "initramfs"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := initramfs.Write(archive, sandboxtest.GuestExe(t), modules); err != nil {
		t.Fatal(err)
	}
	store, err := images.Open(images.Options{Dir: filepath.Join(dir, "images"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	single := filepath.Join(dir, "single")
	if err := os.WriteFile(single, []byte("a file by itself"), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := store.Set(t.Context(), []sandbox.Mount{
		{Source: filepath.Dir(sandboxtest.BootstrapExe(t)), Target: "/var/task"},
		{Source: single, Target: "/etc/thaw/single"},
		{Source: dir, Target: "/usr"},
		{Source: extension(t), Target: "/opt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Release)
	l.tmpPath = filepath.Join(dir, "tmp")
	if err := store.Disk(t.Context(), l.tmpPath, 64); err != nil {
		t.Skip("no disk for /tmp: ", err)
	}
	l.mounts, l.tmp = set.Mounts, len(set.Drives)
	l.config = vmm.Config{MemoryMiB: machineMiB, Kernel: vmlinux, Initramfs: archive.Name(), Drives: append(set.Drives, vmm.Drive{Path: l.tmpPath, Writable: true}),
		Args: control.KernelArgs}
	return l
}

// extension is a folder as of layers, with an extension.
func extension(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(sandboxtest.BootstrapExe(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "extensions"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "extensions", "extension"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// box is a machine with its connections. Of a sandbox it is what sandboxtest.Host needs.
type box struct {
	sandbox.Sandbox
	*sandboxtest.Host
	t       *testing.T
	machine vmm.Machine
	control net.Conn
	w       *wire.Writer
	r       *wire.Reader
	stream  net.Conn
	told    []wire.Frame // what came by itself
}

func (b *box) Conn() net.Conn { return b.stream }

// open makes a machine by start, and dials its control port.
func (l *lab) open(t *testing.T, start func(context.Context, vmm.Machine) error) *box {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := l.monitor.Open(ctx, vmm.Slot{Name: "guest-test", Dir: t.TempDir(), Console: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := start(ctx, m); err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, machine: m}
	b.control = b.dial(control.Port)
	b.w, b.r = wire.NewWriter(b.control), wire.NewReader(b.control)
	return b
}

func (b *box) dial(port uint32) net.Conn {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	c, err := b.machine.Dial(ctx, port)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

// ask makes a request of control. answer may be nil.
func (b *box) ask(kind wire.Kind, head, answer any) {
	b.t.Helper()
	b.control.SetDeadline(time.Now().Add(patience))
	if err := b.w.Send(kind, head, nil); err != nil {
		b.t.Fatal(err)
	}
	f := b.take(kind)
	if answer != nil {
		if err := f.Decode(answer); err != nil {
			b.t.Fatal(err)
		}
	}
}

// take waits for a frame of control.
func (b *box) take(kind wire.Kind) wire.Frame {
	b.t.Helper()
	for {
		b.control.SetDeadline(time.Now().Add(patience))
		f, err := b.r.Next()
		if err != nil {
			b.t.Fatalf("control: %v", err)
		}
		if f.Kind == kind {
			return f
		}
		if f.Kind == control.KindFault {
			b.t.Fatalf("the guest: %s", f.Head)
		}
		b.told = append(b.told, f)
	}
}

// openStream dials the stream.
func (b *box) openStream() {
	b.stream = b.dial(control.StreamPort)
	b.Host = sandboxtest.NewHost(b.t, b)
}

func fresh() control.Fresh {
	f := control.Fresh{UnixNano: time.Now().UnixNano(), Entropy: make([]byte, 64)}
	rand.Read(f.Entropy)
	return f
}

// say invokes the function with an event.
func (b *box) say(format string, args ...any) string {
	b.t.Helper()
	return string(b.Invoke("r", fmt.Appendf(nil, format, args...)))
}

// start begins a generation, with the extensions below a folder.
func (b *box) start(generation uint64, opt string) {
	b.t.Helper()
	b.Send(wire.KindStart, wire.Start{Generation: generation, Candidates: []string{"/var/task/bootstrap"}, Dir: "/var/task", UID: uid, GID: gid,
		Vars: []string{"PATH=/usr/bin:/bin"}, NoFile: 1024, APIHost: "127.0.0.1:9001", TmpBytes: 1 << 20, Layout: make([]byte, wire.LayoutBytes), Opt: opt}, nil)
	for b.TakeAny().Kind != wire.KindReady {
	}
}

// TestGuestInItsOwnMachine is one story in one machine, since it boots for seconds. It holds E-137 and E-138 for machines.
func TestGuestInItsOwnMachine(t *testing.T) {
	l := newLab(t)
	b := l.open(t, func(ctx context.Context, m vmm.Machine) error { return m.Boot(ctx, l.config) })
	b.ask(control.KindPing, nil, nil)
	var bound control.Bound
	b.ask(control.KindBind, control.Bind{
		Mounts: l.mounts, Folders: sandbox.Roots, Tmp: l.tmp, MemoryBytes: memoryMiB << 20, MaxProcesses: 1024, Hostname: "sandbox", Fresh: fresh(),
		Files: map[string][]byte{"/etc/hosts": []byte("127.0.0.1 localhost\n")}, Users: []control.User{{UID: uid, GID: gid, Home: "/home/sbx_user1051"}},
	}, &bound)
	if bound.Baseline < 1<<20 || bound.Baseline > 32<<20 {
		t.Errorf("the guest holds %d bytes", bound.Baseline)
	}
	b.openStream()
	if hello := b.Hello(); hello.PID != 1 || hello.MakesTmp {
		t.Errorf("hello: %+v", hello)
	}
	b.start(1, "/opt")
	t.Run("what the function sees", func(t *testing.T) { b.sees(t) })
	t.Run("the host is out of reach", func(t *testing.T) { b.walls(t) })
	t.Run("what computes stands still before a freeze", func(t *testing.T) { b.computing(t) })
	t.Run("memory is counted, and limited by the kernel", func(t *testing.T) { b.memory(t) })
	if t.Failed() {
		return
	}
	t.Run("two copies go on, with randomness of their own and the new clock", func(t *testing.T) { l.copies(t, b) })
}

func (b *box) sees(t *testing.T) {
	for _, c := range []struct{ event, want string }{
		{"whoami", "993 990 1024/1024 /var/task 0 <nil>"},
		{"caps", "CapPrm:\t0000000000000000"},
		{"ls /", "bin dev etc home lib lib64 opt proc root run sbin sys tmp usr var"},
		{"ls /dev", "fd full null ptmx pts random stderr stdin stdout tty urandom zero"},
		{"ls /tmp", ""},
		{"ls /home", "sbx_user1051"},
		{"ls /opt", "extensions"},
		{"read /etc/hosts", "127.0.0.1 localhost\n"},
		{"read /etc/thaw/single", "a file by itself"},
		{"read /usr/single", "a file by itself"},
		{"stat /tmp", "dtrwxrwxrwx"},
		{"stat /var/task", "drwxr-xr-x"},
		{"stat /opt", "drwxr-xr-x"},
		{"stat /dev/null", "Dcrw-rw-rw-"},
		{"write /dev/null x", "ok"},
		{"write /tmp/mine text", "ok"},
		{"read /tmp/mine", "text"},
		{"fill /tmp/fits 50", "ok"},
		{"stat /sys/class/net/lo", "drwxr-xr-x"},
		{"read /proc/sys/kernel/hostname", "sandbox\n"},
		{"read /proc/sys/user/max_user_namespaces", "0\n"},
	} {
		if got := b.say("%s", c.event); got != c.want {
			t.Errorf("%s: %q, want %q", c.event, got, c.want)
		}
	}
	for name, want := range map[string]string{"modprobe": "\n", "modules_disabled": "1\n"} {
		got := b.say("read /proc/sys/kernel/%s", name)
		if got != want && !strings.Contains(got, "no such file") { // a kernel without modules has neither
			t.Errorf("kernel.%s is %q, want %q", name, got, want)
		}
	}
	if got := b.say("fill /tmp/more 40"); !strings.Contains(got, "no space left") {
		t.Errorf("90 MiB into a /tmp of 64: %s", got)
	}
	b.say("write /tmp/more less")
	for _, path := range []string{"/var/task/new", "/new", "/opt/new", "/dev/new", "/etc/hosts", "/usr/new", "/sys/new", "/proc/sys/kernel/hostname", "/home/sbx_user1051/x"} {
		if got := b.say("write %s text", path); !strings.HasPrefix(got, "error:") {
			t.Errorf("writing %s: %q", path, got)
		}
	}
}

func (b *box) walls(t *testing.T) {
	for event, why := range map[string]string{
		"ls /drives":                            "the drives are mounted outside of the root",
		"ls /modules":                           "so is the initramfs",
		"stat /init":                            "",
		"stat /dev/vda":                         "",
		"stat /dev/vport0p1":                    "",
		"stat /dev/vsock":                       "",
		"ls /proc/1/root":                       "the first process is the guest",
		"ls /proc/1/fd":                         "",
		"ls /proc/self/root/drives":             "",
		"read /proc/kmsg":                       "",
		"alive 1":                               "",
		fmt.Sprintf("socket %d", unix.AF_VSOCK): "the host's end of the vsock device",
		fmt.Sprintf("call %d", unix.SYS_IO_URING_SETUP):    "it opens sockets, too",
		fmt.Sprintf("call %d", 0x40000000|unix.SYS_GETPID): "another table of calls",
	} {
		if got := b.say("%s", event); !strings.HasPrefix(got, "error:") {
			t.Errorf("%s: %q (%s)", event, got, why)
		}
	}
	if got := b.say("socket %d", unix.AF_INET); got != "ok" {
		t.Errorf("an ordinary socket: %s", got)
	}
}

// What computes stands still until Thaw, and nothing else does: a machine must not be frozen while it does (control.Freeze).
func (b *box) computing(t *testing.T) {
	freeze := func() (f control.Freeze) {
		b.ask(control.KindFreeze, nil, &f)
		return f
	}
	if f := freeze(); f.Held || f.Used == 0 {
		t.Errorf("nobody computes: %+v", f)
	}
	b.say("spin")
	spins := func() (n int) {
		fmt.Sscan(b.say("spins"), &n)
		return n
	}
	for before := spins(); spins() == before; {
	}
	if f := freeze(); !f.Held || f.Used == 0 {
		t.Errorf("a thread computes: %+v", f)
	}
	b.ask(control.KindThaw, nil, nil)
	for before := spins(); spins() == before; {
	}
}

// E-015, E-019: the runtime is killed, and what is in /tmp stays.
func (b *box) memory(t *testing.T) {
	used := func() int64 {
		var m control.Memory
		b.ask(control.KindMemory, nil, &m)
		return m.Used
	}
	before := used()
	b.say("alloc 64")
	if grown := used() - before; grown < 60<<20 || grown > 100<<20 {
		t.Errorf("with 64 MiB more, memory went from %d by %d", before, grown)
	}
	b.SendInvoke("big", []byte("alloc 400"))
	var got wire.Exited
	if b.Take(wire.KindExited, &got); !got.OutOfMemory || got.Signal != int(unix.SIGKILL) || got.Extension != "" {
		t.Errorf("at the limit the runtime ended with %+v", got)
	}
	var oom control.OutOfMemory
	var f wire.Frame
	if len(b.told) > 0 {
		f = b.told[0]
	} else {
		f = b.take(control.KindOutOfMemory)
	}
	if err := f.Decode(&oom); err != nil || oom.Count != 1 {
		t.Errorf("the host was told %+v, %v", oom, err)
	}
	b.Send(wire.KindPing, wire.Ping{}, nil)
	b.Take(wire.KindPong, nil) // and nothing of the extension, which was killed with it
	b.Kill(1, 0)
	b.start(2, "")
	b.Send(wire.KindOutOfMemory, nil, nil) // it comes late: that one is dead
	if got := b.say("count"); got != "1" {
		t.Errorf("a new runtime counts %s", got)
	}
	if got := b.say("read /tmp/mine"); got != "text" {
		t.Errorf("/tmp/mine is %q", got)
	}
	if after := used(); after > before+16<<20 {
		t.Errorf("after the kill %d bytes are used, before it was %d", after, before)
	}
}

// copies saves the machine and restores it twice. The kernel renews its randomness by itself only when half of the time since its
// boot has passed, and it has just drawn, so copies that are not told would draw the same.
func (l *lab) copies(t *testing.T, b *box) {
	const draw = "read /proc/sys/kernel/random/uuid"
	drawn := map[string]string{b.say(draw): "the original"}
	b.Send(wire.KindQuiesce, nil, nil)
	b.Take(wire.KindQuiesced, nil)
	b.ask(control.KindSave, nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.machine.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state, memory := file(t, dir, "state"), file(t, dir, "memory")
	if err := b.machine.Snapshot(ctx, state, memory); err != nil {
		t.Fatal(err)
	}
	if err := b.machine.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB of memory are stored of %d", stored(t, memory)>>20, machineMiB)
	disk, err := os.ReadFile(l.tmpPath)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		config := l.config
		config.Drives = append([]vmm.Drive(nil), config.Drives...)
		own := filepath.Join(dir, fmt.Sprint("tmp", i))
		if err := os.WriteFile(own, disk, 0o600); err != nil {
			t.Fatal(err)
		}
		config.Drives[l.tmp].Path = own
		state.Seek(0, io.SeekStart)
		c := l.open(t, func(ctx context.Context, m vmm.Machine) error {
			return m.Restore(ctx, config, vmm.Saved{State: state, Memory: memory})
		})
		c.t = t
		f := fresh()
		f.UnixNano += (24 * time.Hour).Nanoseconds()
		c.ask(control.KindRestored, control.Restored{Fresh: f}, nil)
		c.openStream()
		c.Send(wire.KindRestored, wire.Restored{UnixNanos: f.UnixNano, Entropy: f.Entropy, EnvID: "copy"}, nil)
		c.Ready()
		uuid := c.say(draw)
		if who := drawn[uuid]; who != "" {
			t.Errorf("copy %d draws %s, as did %s", i, uuid, who)
		}
		drawn[uuid] = fmt.Sprint("copy ", i)
		if now, err := strconv.ParseInt(c.say("wall"), 10, 64); err != nil || now < f.UnixNano || now > f.UnixNano+patience.Nanoseconds() {
			t.Errorf("the clock of copy %d is %d, %v; it was set to %d", i, now, err, f.UnixNano)
		}
		if got := c.say("count"); got != "2" {
			t.Errorf("copy %d counts %s after 1", i, got)
		}
		if got := c.say("read /tmp/mine"); got != "text" {
			t.Errorf("copy %d reads %q in /tmp", i, got)
		}
		if got := c.say("write /tmp/copy %d", i); got != "ok" {
			t.Errorf("copy %d writes to /tmp: %s", i, got)
		}
		c.stream.Close()
		select {
		case <-c.machine.Exited():
		case <-time.After(patience):
			t.Errorf("copy %d does not end with its stream", i)
		}
	}
}

func file(t *testing.T, dir, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// stored counts the bytes of pages that are not zero.
func stored(t *testing.T, f *os.File) (n int64) {
	t.Helper()
	page, zero := make([]byte, 4096), make([]byte, 4096)
	r := io.NewSectionReader(f, 0, 1<<40)
	for {
		if _, err := io.ReadFull(r, page); err != nil {
			return n
		}
		if !bytes.Equal(page, zero) {
			n += int64(len(page))
		}
	}
}
