package guest

import (
	"errors"
	"os"
	"syscall"
)

// Place is what a guest knows of a machine that is its own (see package machine). A sandbox that was prepared from
// outside is the zero value.
type Place struct {
	// Group is the folder of the control group that all processes are born in. The guest itself is in another.
	Group *os.File
	// Kills is how many times the kernel has killed that group for want of memory. How many processes that were it counts
	// in other ways from version to version.
	Kills func() int64
	// Quiet is told before Quiesced is sent, and when Restored has come: in between, the end of the connection is not
	// the end of the stream.
	Quiet func(quiet bool)
}

// ErrRenewed is what reading from a stream answers once when it goes on with a new connection. A frame that had begun
// in the old one is lost.
var ErrRenewed = errors.New("the stream goes on with a new connection")

// machine says whether the guest has a machine of its own: it has mounted all, and the kernel kills at the memory limit.
func (p *Place) machine() bool { return p.Group != nil }

func (p *Place) kills() int64 {
	if p.Kills == nil {
		return 0
	}
	return p.Kills()
}

// birth is how a process begins: in a process group of its own, and in the control group.
func (p *Place) birth() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if p.Group != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(p.Group.Fd())
	}
	return attr
}

// killedForMemory says whether the kernel has killed for want of memory since this generation began. It counts before it
// kills, so whoever asks after an exit learns of that exit's cause. It kills the whole control group: the runtime and
// all extensions.
func (n *generation) killedForMemory() bool { return n.guest.place.kills() > n.kills }

// launched says whether the runtime was started.
func (n *generation) launched() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waiting == nil
}
