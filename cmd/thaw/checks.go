package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/admin"
	"thaw/node"
	"thaw/node/embedded"
)

// checks are the doctor's, in the order in which they are shown.
var checks = []func(context.Context, node.Config) []finding{
	checkProgram, checkKVM, checkFirecracker, checkGVisor, checkProcess, checkCgroups, checkNetworks, checkTun, checkUserfaultfd,
	checkMemory, checkDisk, checkClock, checkPort, checkInterpreters,
}

func one(check, result, detail, repair string) []finding {
	return []finding{{check, result, detail, repair}}
}

func checkProgram(context.Context, node.Config) []finding {
	if embedded.Carried() {
		return one("guest programs", ok, "inside this executable", "")
	}
	return one("guest programs", warn, "not inside this executable; they are built from source when a server starts", "make build")
}

// checkGVisor asks for what the sandbox needs: root (mounts, namespaces), and the systrap platform's seccomp.
func checkGVisor(context.Context, node.Config) []finding {
	const name = "sandbox gvisor"
	switch {
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return one(name, warn, "gVisor knows no "+runtime.GOARCH, "thaw server --sandbox process")
	case os.Geteuid() != 0:
		return one(name, warn, "needs root: mounts and network namespaces", "sudo thaw server")
	}
	for _, cap := range []struct {
		bit  int
		name string
	}{{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}, {unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}} {
		if !hasCapability(cap.bit) {
			return one(name, warn, "this root lacks "+cap.name+" (a container?)", "docker run --privileged ...")
		}
	}
	// The namespaces of a sandbox, tried by a child that ends at once.
	try := exec.Command("true")
	try.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET}
	if err := try.Run(); err != nil {
		return one(name, warn, fmt.Sprintf("namespaces are refused: %v", err), "sysctl -w user.max_net_namespaces=10000 user.max_mnt_namespaces=10000 user.max_pid_namespaces=10000")
	}
	return one(name, ok, "isolates with a user-space kernel; platform systrap", "")
}

func hasCapability(bit int) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if hex, is := strings.CutPrefix(line, "CapEff:"); is {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && set&(1<<bit) != 0
		}
	}
	return false
}

func checkProcess(context.Context, node.Config) []finding {
	return one("sandbox process", ok, "runs anywhere, isolates nothing: for your own code only", "")
}

func checkCgroups(context.Context, node.Config) []finding {
	const name = "cgroups"
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return one(name, warn, "not mounted: no limits of memory and CPU", "mount -t cgroup2 none /sys/fs/cgroup")
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		have, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil {
			return one(name, warn, fmt.Sprintf("version 2: %v", err), "mount -o remount,rw /sys/fs/cgroup")
		}
		for _, want := range []string{"memory", "cpu"} {
			if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+want+" ") {
				return one(name, warn, "version 2, without the controller "+want, "echo +"+want+" > /sys/fs/cgroup/cgroup.subtree_control")
			}
		}
		return one(name, ok, "version 2 with memory and cpu", "")
	}
	for _, want := range []string{"memory", "cpu", "freezer"} {
		if _, err := os.Stat("/sys/fs/cgroup/" + want + "/tasks"); err != nil {
			return one(name, warn, "version 1, without the controller "+want, "mkdir -p /sys/fs/cgroup/"+want+" && mount -t cgroup -o "+want+" none /sys/fs/cgroup/"+want)
		}
	}
	return one(name, ok, "version 1 with memory, cpu and freezer", "")
}

// checkNetworks asks for what gives functions the internet: forwarding and nftables. Both are tried, not read from a list of modules.
func checkNetworks(context.Context, node.Config) []finding {
	var all []finding
	if os.Geteuid() != 0 {
		return one("function networks", warn, "only with the gvisor sandbox, so only as root", "sudo thaw doctor")
	}
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		all = append(all, finding{"network namespaces", warn, "the kernel has none", "modprobe veth"})
	} else {
		all = append(all, finding{"network namespaces", ok, "each sandbox has its own", ""})
	}
	if s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		all = append(all, finding{"nftables", warn, fmt.Sprintf("no netfilter: %v; functions have no internet", err), "modprobe nf_tables"})
	} else {
		unix.Close(s)
		all = append(all, finding{"nftables", ok, "netfilter answers", ""})
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || strings.TrimSpace(string(b)) != "1" {
		all = append(all, finding{"IPv4 forwarding", warn, "off; a server with the gvisor sandbox turns it on", "sysctl -w net.ipv4.ip_forward=1"})
	} else {
		all = append(all, finding{"IPv4 forwarding", ok, "on", ""})
	}
	return all
}

func checkUserfaultfd(context.Context, node.Config) []finding {
	const name = "userfaultfd"
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno == unix.ENOSYS {
		return one(name, warn, "the kernel has none; snapshots load all of their pages first", "use a kernel with CONFIG_USERFAULTFD")
	}
	if errno != 0 {
		return one(name, warn, fmt.Sprintf("refused: %v", errno), "sysctl -w vm.unprivileged_userfaultfd=1")
	}
	unix.Close(int(fd))
	return one(name, ok, "works", "")
}

func checkMemory(context.Context, node.Config) []finding {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return one("memory", warn, err.Error(), "mount -t proc proc /proc")
	}
	free := int64(-1)
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			free = kib << 10
		}
	}
	detail := fmt.Sprintf("%s free, %d cores", mebibytes(free), runtime.NumCPU())
	if free < 512<<20 {
		return one("memory", warn, detail+"; few environments will fit", "ps aux --sort=-rss | head")
	}
	return one("memory", ok, detail, "")
}

// checkDisk looks at the nearest folder of the data folder's path that exists.
func checkDisk(_ context.Context, c node.Config) []finding {
	dir := c.DataDir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return one("data folder", fail, dir+" is no folder", "thaw server --data-dir SOMEWHERE")
		}
		if err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return one("data folder", fail, fmt.Sprintf("%s: %v", dir, err), "thaw server --data-dir ~/thaw-data")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return one("data folder", fail, fmt.Sprintf("%s: %v", dir, err), "df "+dir)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	detail := fmt.Sprintf("%s, %s free", c.DataDir, mebibytes(free))
	if free < 1<<30 {
		return one("data folder", warn, detail, "df -h "+dir)
	}
	return one("data folder", ok, detail, "")
}

// checkClock looks whether anything keeps the clock right: signed requests are refused when it is five minutes off.
func checkClock(context.Context, node.Config) []finding {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	switch {
	case time.Now().Year() < 2026:
		return one("clock", fail, "it is "+time.Now().Format(time.DateTime), "timedatectl set-ntp true")
	case err != nil:
		return one("clock", warn, fmt.Sprintf("not to be asked: %v", err), "timedatectl status")
	case state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0:
		return one("clock", warn, "nothing synchronises it; signed requests are refused when it is five minutes off", "timedatectl set-ntp true")
	}
	return one("clock", ok, "synchronised", "")
}

func checkPort(ctx context.Context, c node.Config) []finding {
	if h, err := admin.Dial(c.DataDir).Health(ctx); err == nil {
		return one("server", ok, fmt.Sprintf("runs already: %s, pid %d", h.Endpoint, h.PID), "")
	}
	l, err := net.Listen("tcp", c.Listen)
	if errors.Is(err, unix.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(c.Listen)
		return one("port", fail, c.Listen+" is taken", "ss -ltnp 'sport = :"+port+"'")
	}
	if err != nil {
		return one("port", fail, err.Error(), "thaw server --listen 127.0.0.1:9600")
	}
	l.Close()
	return one("port", ok, c.Listen+" is free", "")
}

// checkInterpreters says what the host has. What it lacks comes by itself with the first function that needs it, unless
// the server is offline.
func checkInterpreters(ctx context.Context, c node.Config) []finding {
	var all []finding
	for _, i := range []struct{ name, program, flag, repair string }{
		{"Node.js", "node", "--version", c.InstallCommand() + " nodejs22.x"},
		{"Python", "python3", "--version", c.InstallCommand() + " python3.13"},
		{"Java", "java", "-version", c.InstallCommand() + " java21"},
	} {
		path, err := exec.LookPath(i.program)
		if err != nil && !c.Offline {
			all = append(all, finding{i.name, ok, "not in PATH: it is fetched with the first function that needs it", ""})
			continue
		}
		if err != nil {
			all = append(all, finding{i.name, warn, "not in PATH", i.repair})
			continue
		}
		said, err := exec.CommandContext(ctx, path, i.flag).CombinedOutput()
		first, _, _ := bytes.Cut(said, []byte("\n"))
		if err != nil {
			all = append(all, finding{i.name, warn, fmt.Sprintf("%s does not run: %v", path, err), i.repair})
			continue
		}
		all = append(all, finding{i.name, ok, cmp.Or(string(first), "?") + ", " + path, ""})
	}
	return all
}
