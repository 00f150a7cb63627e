// Package descriptors closes what a process was not meant to have open. Every process of this program begins with it.
package descriptors

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CloseStrays closes the descriptors that this process was not meant to have. The launcher talks to every sandbox through gVisor's own client, whose sockets and
// event descriptors are not close-on-exec: each sandbox would hold the launcher's ends of all others', and with more than some two hundred of them one stands
// where gVisor wants to put the guest's standard streams ("unable to remap stdios, FD 254 is already in use").
//
// What was meant is what the arguments name. It lies below the rest without a gap, because exec.Cmd puts it there; what this process
// itself has opened by now is close-on-exec.
func CloseStrays() { CloseAfter(lastNamed(os.Args)) }

// CloseAfter closes strays with numbers above last.
func CloseAfter(last int) {
	for _, fd := range Own() { // none in a second run without /proc: the first has done it
		if fd <= last {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// Folder lists the descriptors of this process.
const Folder = "/proc/self/fd"

// Own are those that this process has open, with one that was open for looking; none where there is no /proc.
func Own() (fds []int) {
	ents, _ := os.ReadDir(Folder)
	for _, e := range ents {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// lastNamed is the highest descriptor that gVisor's arguments name: --x-fd=N, --x-fds=N,N and --pass-fd=N:GUEST.
func lastNamed(args []string) int {
	last := 2
	for _, a := range args {
		name, values, ok := strings.Cut(a, "=")
		if !ok || !strings.HasPrefix(name, "-") || !strings.HasSuffix(name, "fd") && !strings.HasSuffix(name, "fds") {
			continue
		}
		for v := range strings.SplitSeq(values, ",") {
			v, _, _ = strings.Cut(v, ":")
			if fd, err := strconv.Atoi(v); err == nil {
				last = max(last, fd)
			}
		}
	}
	return last
}
