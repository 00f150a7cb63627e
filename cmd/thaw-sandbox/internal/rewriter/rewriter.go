// Package rewriter reads what sandboxes have saved, in a process of its own.
package rewriter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/seccomp"

	"thaw/cmd/thaw-sandbox/internal/descriptors"
	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// # Who reads saved kernels
//
// A saved kernel comes out of a sandbox, so what reads it is a process of its own, the rewriter: the launcher's child,
// one for each checkpoint. It stops the saved clock (clock.go), then writes the kernel anew (canonical.go). It is
// nobody, with no more memory and processor time than rewriterLimits, and with a seccomp filter that leaves it the
// descriptors it was given and its own memory. It ends with the launcher.
//
// Three descriptors: the state file, to be read and for the clock to be stopped in; a scratch file for the new kernel,
// without a header; and a pipe that tells how far it is. Whoever ends before rewritten has been said has written
// nothing that counts.

const (
	rewriterState = 3 + iota
	rewriterScratch
	rewriterPipe
)

// What the rewriter says, a line each. A line that begins with something else is why it has given up.
const (
	saidClock     = "clock stopped"
	saidRewritten = "rewritten"
)

// rewriterMemory is what the rewriter may have of its own, in bytes: the heap and all else that Go's runtime makes
// writable. The state file, which is mapped, does not count. Seen: 60 MB for 100,000 files (25 MB of state).
const rewriterMemory = 512 << 20

var rewriterLimits = []struct {
	what  int
	limit uint64
}{
	{unix.RLIMIT_DATA, rewriterMemory},
	{unix.RLIMIT_CPU, 30}, // seconds. 100,000 files: 2
	{unix.RLIMIT_FSIZE, 2 * statefile.MaxPart},
	{unix.RLIMIT_NOFILE, 32}, // Go's poller has some
	{unix.RLIMIT_CORE, 0},
}

const nobody = 65534

// Main is the whole of the process: thaw-sandbox rewrite OFFSET FROM TO. OFFSET is where in the state file the
// kernel begins, FROM and TO say when the checkpoint was, in nanoseconds since 1970.
func Main(args []string) {
	parent := os.Getppid()
	err := confine()
	if err == nil && os.Getppid() != parent {
		err = errors.New("the launcher has ended")
	}
	if err == nil {
		err = rewrite(args)
	}
	if err != nil {
		say(err.Error())
		os.Exit(1)
	}
}

func say(line string) { unix.Write(rewriterPipe, []byte(line+"\n")) }

// confine gives up every privilege, and what else the work does not need. It comes before the first byte of the file is
// looked at.
func confine() error {
	debug.SetMemoryLimit(rewriterMemory / 4 * 3) // the collector works harder before the end
	descriptors.CloseAfter(rewriterPipe)
	os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // of all processes, this one can be missed
	for _, l := range rewriterLimits {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("limit %d: %w", l.what, err)
		}
	}
	// Package syscall's are for all threads; from another user root's capabilities go with its id.
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil { // a change of user has cleared it
		return fmt.Errorf("parent: %w", err)
	}
	denied := seccomp.ReturnError.Code(uint16(unix.EPERM)) // Go's runtime goes on without a call that a later one may try
	p := &seccomp.Program{
		RuleSets: []seccomp.RuleSet{{Rules: seccomp.DenyNewExecMappings, Action: denied}, {Rules: rewriterCalls(), Action: seccomp.Allow}},
		Options:  seccomp.ProgramOptions{DefaultAction: denied, BadArchAction: seccomp.KillProcess},
	}
	instructions, _, err := p.Build()
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	if err := seccomp.SetFilter(instructions); err != nil { // on all threads; sets no_new_privs
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}

// threadFlags are those of clone(2) that Go's runtime starts a thread with, and on some processors CLONE_SETTLS.
// Source: cloneFlags, runtime/os_linux.go, and runtime.clone in runtime/sys_linux_amd64.s.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// rewriterCalls are what is read and written with, and what Go's runtime needs.
func rewriterCalls() seccomp.SyscallRules {
	m := map[uintptr]seccomp.SyscallRule{
		unix.SYS_CLONE:  seccomp.PerArg{seccomp.MaskedEqual(^uintptr(unix.CLONE_SETTLS), threadFlags)},
		unix.SYS_PRCTL:  seccomp.PerArg{seccomp.EqualTo(unix.PR_SET_VMA)}, // names of memory areas
		unix.SYS_TGKILL: seccomp.PerArg{seccomp.EqualTo(os.Getpid())},
	}
	for _, n := range []uintptr{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_CLOSE, unix.SYS_FSTAT,
		unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MPROTECT, unix.SYS_MINCORE, unix.SYS_BRK,
		unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRANDOM,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
		unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
	} {
		m[n] = seccomp.MatchAll{}
	}
	return seccomp.MakeSyscallRules(m)
}

// rewrite does the work.
func rewrite(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments", len(args))
	}
	var n [3]int64
	for i, a := range args {
		var err error
		if n[i], err = strconv.ParseInt(a, 10, 64); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(rewriterState, &st); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if n[0] < 0 || n[0] >= st.Size || st.Size > statefile.MaxPart {
		return fmt.Errorf("%w: a kernel at %d of %d bytes", statefile.ErrDamaged, n[0], st.Size)
	}
	// Shared: the change below is seen. A sandbox that cuts its file short meanwhile ends this process.
	file, err := unix.Mmap(rewriterState, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	body := file[n[0]:]
	parts, surveyErr := survey(body)
	clock, err := findClock(body, parts, time.Unix(0, n[1]), time.Unix(0, n[2]))
	if err != nil {
		return errors.Join(err, surveyErr)
	}
	if _, err := unix.Pwrite(rewriterState, clock.bytes, n[0]+int64(clock.at)); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	say(saidClock)
	if surveyErr != nil {
		return surveyErr
	}
	if err := canonical(parts, descriptor(rewriterScratch)); err != nil {
		return err
	}
	say(saidRewritten)
	return nil
}

// descriptor is written to without Go's poller.
type descriptor int

func (d descriptor) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(int(d), b[n:])
		if err != nil && err != unix.EINTR {
			return n, err
		}
		n += max(m, 0)
	}
	return n, nil
}

var _ io.Writer = descriptor(0)
