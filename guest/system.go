package guest

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func setProcs() { runtime.GOMAXPROCS(1) }

// mountTmp gives the sandbox its /tmp of the given size. It stays over generations: only a new sandbox has an empty one.
func (g *Guest) mountTmp(size int64) error {
	if !g.asPID1 || g.place.machine() || size == 0 || size == g.tmp {
		return nil
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if g.tmp != 0 {
		flags |= unix.MS_REMOUNT
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", flags, fmt.Sprintf("size=%d,mode=1777", size)); err != nil {
		return fmt.Errorf("mount /tmp of %d bytes: %w", size, err)
	}
	g.tmp = size
	return nil
}

// noNewPrivileges makes set-user-id programs ordinary ones, for all that runs here. Best effort: kernels without it have no such danger less.
func noNewPrivileges() {
	syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// boundCapabilities takes every capability from programs that are executed as root from now on. The guest keeps its own. Other users have
// none to begin with.
func boundCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if _, _, e := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); e != 0 && e != syscall.EINVAL {
			return fmt.Errorf("drop capability %d: %w", c, e)
		}
	}
	return nil
}

// mixEntropy adds to the kernel's pool, which a restored copy shares with its sisters where the kernel itself was part of the snapshot.
func mixEntropy(b []byte) {
	if len(b) == 0 {
		return
	}
	if f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0); err == nil {
		f.Write(b)
		f.Close()
	}
}
