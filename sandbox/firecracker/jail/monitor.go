// Package jail runs Firecracker in its jailer: the monitor of microVMs for hosts with KVM.
//
// A machine's process is Firecracker itself, started by its jailer as a child of this process: in a process namespace, a
// mount namespace and a network namespace of its own, as the slot's user, below the slot's folder as its root, with the
// release's own seccomp filters. It is born in the slot's control group. Firecracker takes paths, so every file of the
// machine gets a name in the jail (files.go); what the process leaves there is not trusted (socket.go).
//
//	Slot.Dir/firecracker/NAME/root/   the jail's /; the jailer makes it, with firecracker and dev in it
//	  api.sock v.sock                  Firecracker's
//	  vmlinux initramfs drive0 ...     names of the caller's files, or mounts of them that only the jail sees
//	  state memory                     of the snapshot that is loaded or made
//
// All names are relative to the jail's root, so that a snapshot can be loaded in any jail, and by releases that cannot be
// told of another place for v.sock.
//
// Owners: Machine owns the process, and the goroutines that end with it: of its output, of its end, and of what is tidied
// up once its machine runs.
package jail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/vmm"
)

// Options say which programs are used, and how.
type Options struct {
	Firecracker string // path
	Jailer      string // path; of the same release
	// Unjailed runs Firecracker without the jailer: what breaks out of a machine is on the host, as the slot's user. For
	// hosts that are somebody's own, and for looking into faults.
	Unjailed bool
	// Serial gives machines a serial console, which goes to Slot.Console. It makes boots slower.
	Serial bool
	Log    *slog.Logger
}

// Monitor makes machines of one release of Firecracker.
type Monitor struct {
	opt     Options
	version fcapi.Version
	key     string
	clock   string // arguments of machines' kernels
}

var _ vmm.Monitor = (*Monitor)(nil)

// installHint is what to type when there is no Firecracker.
const installHint = "thaw sandbox install firecracker"

// New asks the programs for their version. It does not look whether KVM works.
func New(ctx context.Context, opt Options) (*Monitor, error) {
	m := &Monitor{opt: opt}
	if m.opt.Log == nil {
		m.opt.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if m.version, err = programVersion(ctx, "firecracker", opt.Firecracker); err != nil {
		return nil, err
	}
	if !opt.Unjailed {
		jailer, err := programVersion(ctx, "jailer", opt.Jailer)
		if err != nil {
			return nil, err
		}
		if jailer != m.version {
			return nil, fmt.Errorf("firecracker is %v and its jailer is %v: they must be of the same release", m.version, jailer)
		}
	}
	warning, err := m.version.Check()
	if err != nil {
		return nil, err
	}
	if warning != "" {
		m.opt.Log.Warn(warning)
	}
	if opt.Unjailed {
		m.opt.Log.Warn("Firecracker runs without its jailer: what breaks out of a machine is on the host")
	}
	host, err := hostKey()
	if err != nil {
		return nil, err
	}
	m.key = fmt.Sprintf("%v %s", m.version, host)
	clock, _ := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource") // not there: not to rely on
	m.clock = clockArgs(m.version, string(clock))
	return m, nil
}

// programVersion asks a program which release it is.
func programVersion(ctx context.Context, name, path string) (fcapi.Version, error) {
	if path == "" {
		return fcapi.Version{}, &vmm.MissingError{What: "no program " + name, Hint: installHint}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if errors.Is(err, os.ErrNotExist) {
		return fcapi.Version{}, &vmm.MissingError{What: fmt.Sprintf("no program %s at %s", name, path), Hint: installHint}
	}
	if err != nil {
		return fcapi.Version{}, fmt.Errorf("%s --version: %w", path, err)
	}
	return fcapi.ParseVersion(string(out))
}

// Name implements vmm.Monitor.
func (m *Monitor) Name() string { return "firecracker" }

// Key implements vmm.Monitor: the release, the processor and the kernel. A snapshot has the state of all three.
func (m *Monitor) Key() string { return m.key }

// Version is the release.
func (m *Monitor) Version() fcapi.Version { return m.version }

// hostKey is what a snapshot depends on of the host: the model of processor with what it can do, which changes with
// microcode, and the kernel's major and minor number, whose KVM saves and takes back the state.
// Source: Firecracker's docs/snapshotting/versioning.md and snapshot-support.md.
func hostKey() (string, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", fmt.Errorf("processor: %w", err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("kernel: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	class := strings.Join(strings.SplitN(release, ".", 3)[:min(2, strings.Count(release, ".")+1)], ".")
	return processorKey(info) + " linux " + class, nil
}

// processorKey is a sum over the first processor of /proc/cpuinfo. Flags are sorted: their order is the kernel's.
func processorKey(info []byte) string {
	h := sha256.New()
	for s := bufio.NewScanner(bytes.NewReader(info)); s.Scan() && s.Text() != ""; {
		name, value, _ := strings.Cut(s.Text(), ":")
		switch name = strings.TrimSpace(name); name {
		case "vendor_id", "cpu family", "model", "model name", "stepping":
			fmt.Fprintf(h, "%s=%s\n", name, strings.TrimSpace(value))
		case "flags":
			flags := strings.Fields(value)
			slices.Sort(flags)
			fmt.Fprintf(h, "flags=%s\n", strings.Join(flags, " "))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
