package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// host is the machine as the kernel gave it, outside the function's root. After the change of roots it is reached by
// descriptors alone.
type host struct {
	proc, sys, dev, groups *os.File // folders: mounted here, and for the guest alone
	root                   *os.File // the function's root with nothing mounted in it, at no path: only here can it be written to
}

// Where the guest mounts the kernel's file systems in the initramfs.
const groupsDir = "/groups"

// boot makes a kernel's bare initramfs a machine.
func boot() (*host, error) {
	unix.Umask(0)
	h := &host{}
	for _, m := range []struct {
		kind, at string
		dir      **os.File
	}{{"proc", "/proc", &h.proc}, {"sysfs", "/sys", &h.sys}, {"devtmpfs", "/dev", &h.dev}, {"cgroup2", groupsDir, &h.groups}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.at, err)
		}
		var err error
		if *m.dir, err = os.Open(m.at); err != nil {
			return nil, err
		}
	}
	if err := loadModules(control.Modules); err != nil {
		return nil, err
	}
	h.settle()
	return h, errors.Join(linkUp("lo"), addAddress("lo", platform))
}

// loadModules loads what the initramfs brings, and gives its memory back. A kernel may have one of them built in. One
// that does not fit holds up no other: by the others the host may hear of it.
func loadModules(dir string) error {
	list, err := os.ReadFile(filepath.Join(dir, control.ModuleOrder))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var wrong error
	for _, name := range strings.Fields(string(list)) {
		if err := loadModule(filepath.Join(dir, name+".ko")); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("module %s: %w", name, err))
		}
	}
	return errors.Join(wrong, os.RemoveAll(dir))
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != unix.EEXIST {
		return err
	}
	return nil
}

// settings of the kernel. What a kernel does not have is no error: it was built without the thing.
var settings = []struct{ name, value, why string }{
	{"kernel/dmesg_restrict", "1", "the kernel's messages are the operator's"},
	{"kernel/kptr_restrict", "2", "nor are its addresses for functions"},
	{"kernel/perf_event_paranoid", "3", "counters of the processor tell of other machines"},
	{"kernel/unprivileged_bpf_disabled", "1", "nothing of a function's runs in the kernel"},
	{"kernel/modprobe", "", "the kernel would run it as root, out of the function's root: its threads have the guest's"},
	{"kernel/modules_disabled", "1", "all that is needed is loaded"},
	{"user/max_user_namespaces", "0", "capabilities in a namespace of one's own open most of the kernel"},
	{"kernel/core_pattern", "", "no dumps of memory into /tmp"},
	{"net/ipv6/conf/all/disable_ipv6", "1", "as in gVisor: there is no IPv6 inside"},
	{"net/ipv6/conf/default/disable_ipv6", "1", ""},
	{"vm/overcommit_memory", "1", "as in gVisor: what is not touched costs nothing, and the limit is the control group's"},
}

// settle tells the kernel what it is for.
func (h *host) settle() {
	for _, s := range settings {
		writeAt(h.proc, "sys/"+s.name, s.value+"\n")
	}
	// A program that touches little would hold pages of 2 MiB otherwise, and snapshots would be larger.
	writeAt(h.sys, "kernel/mm/transparent_hugepage/enabled", "madvise")
}

// writeAt writes to a file below an open folder of the kernel's.
func writeAt(dir *os.File, name, text string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// readAt reads a file below an open folder of the kernel's.
func readAt(dir *os.File, name string) (string, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, 8<<10)
	n := 0
	for n < len(b) {
		k, err := unix.Read(fd, b[n:])
		if err != nil {
			return "", &os.PathError{Op: "read", Path: name, Err: err}
		}
		if k == 0 {
			break
		}
		n += k
	}
	return string(b[:n]), nil
}
