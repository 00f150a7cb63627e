package outer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Init is what PID 1 of the outer machine does. It never returns.
//
// It begins in the initramfs, which cannot be left by pivot_root, as gVisor and Firecracker's jailer do: so the root
// becomes a tmpfs, and Init begins again there.
func Init() {
	steps := []step{{"file systems", mountFirst}, {"modules", loadModules}, {"the root", moveRoot}, {"the second half", again}}
	if len(os.Args) > 1 {
		steps = []step{{"file systems", mountRest}, {"commands", installBusybox}, {"the program", runJob}}
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			fmt.Fprintf(os.Stderr, "outer machine: %s: %v\n", s.what, err)
			break
		}
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU ends there: -no-reboot
}

type step struct {
	what string
	do   func() error
}

// mount makes a mount and its folder.
func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

func mountFirst() error {
	return errors.Join(mount("proc", "/proc", "proc", 0, ""), mount("sysfs", "/sys", "sysfs", 0, ""), mount("devtmpfs", "/dev", "devtmpfs", 0, ""))
}

func loadModules() error {
	all, err := filepath.Glob(modulesThere + "/*")
	for _, p := range all { // sorted by name, which begins with a number
		f, oerr := os.Open(p)
		if oerr != nil {
			return oerr
		}
		lerr := unix.FinitModule(int(f.Fd()), "", 0)
		nothing := errors.Is(lerr, unix.EEXIST) || errors.Is(lerr, unix.ENODEV) || errors.Is(lerr, unix.EOPNOTSUPP) // for it to do here
		if lerr != nil && !nothing {
			err = errors.Join(err, fmt.Errorf("%s: %w", filepath.Base(p), lerr))
		}
		f.Close()
	}
	return err
}

const newRoot = "/root-to-be"

// moveRoot makes a tmpfs the root, with all that the initramfs has, by name: a bound folder needs no copy. Half of the
// memory is its bound, as with any tmpfs; what the initramfs holds is in memory too.
func moveRoot() error {
	if err := mount("tmpfs", newRoot, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := "/"+e.Name(), newRoot+"/"+e.Name()
		switch {
		case from == newRoot || from == modulesThere:
		case e.Type() == fs.ModeSymlink:
			link, lerr := os.Readlink(from)
			err = errors.Join(err, lerr, os.Symlink(link, to))
		case e.IsDir():
			err = errors.Join(err, os.Mkdir(to, 0o755), unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""))
		default:
			err = errors.Join(err, os.WriteFile(to, nil, 0o755), unix.Mount(from, to, "", unix.MS_BIND, ""))
		}
	}
	return errors.Join(err, os.RemoveAll(modulesThere), unix.Chdir(newRoot), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), unix.Chdir("/"))
}

func again() error { return unix.Exec("/init", []string{"/init", "again"}, os.Environ()) }

// controllers are those that every group of a Debian may use.
const controllers = "+cpu +memory +pids +io"

func mountRest() error {
	err := errors.Join(
		mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"),
		mount("devpts", "/dev/pts", "devpts", 0, ""),
		mount("tmpfs", "/run", "tmpfs", 0, "mode=755"),
		mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777"),
		mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""),
		os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte(controllers), 0),
		os.MkdirAll("/etc", 0o755),
		os.MkdirAll("/root", 0o700),
		os.WriteFile("/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n"), 0o644),
		os.WriteFile("/etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"), 0o644),
		os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644),
		os.WriteFile("/etc/resolv.conf", nil, 0o644),
		unix.Sethostname([]byte("outer")))
	// A Linux system has its mounts shared among namespaces (systemd does it): what relies on private ones must say so.
	return errors.Join(err, unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""))
}

// searchPath is where programs are looked for: those of the host that were brought in before the applets of busybox.
const searchPath = "/usr/bin:/usr/sbin:/bin:/sbin"

func installBusybox() error {
	for _, dir := range strings.Split(searchPath, ":") {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	out, err := exec.Command("/bin/busybox", "--list").Output()
	for applet := range strings.Lines(string(out)) {
		lerr := os.Symlink("/bin/busybox", "/bin/"+strings.TrimSpace(applet))
		if !errors.Is(lerr, fs.ErrExist) {
			err = errors.Join(err, lerr)
		}
	}
	return errors.Join(err, exec.Command("/bin/busybox", "ip", "link", "set", "lo", "up").Run())
}

// openPort waits for the port to the runner: the device appears a little after its module.
func openPort() (*os.File, error) {
	for range 2000 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			b, _ := os.ReadFile(n)
			if strings.TrimSpace(string(b)) == portName {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(n)), os.O_WRONLY, 0)
			}
		}
		time.Sleep(5 * time.Millisecond) // of 10 seconds
	}
	return nil, errors.New("there is no port to the runner")
}
