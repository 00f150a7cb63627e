package rewriter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// Rewriters is the launcher's side of it: what is in this file runs there.
type Rewriters struct {
	places chan struct{} // one for each that runs
	forked func(func())  // forks where the launcher does
}

// most is how many of them run at a time.
const most = 4

// New returns what needs no end: rewriters end with the launcher.
func New(forked func(func())) *Rewriters {
	return &Rewriters{make(chan struct{}, most), forked}
}

// Rewrite stops the clock of a saved kernel and leaves the kernel in the scratch file: written anew, or as it was saved
// and why. An error says that the clock goes on.
func (r *Rewriters) Rewrite(ctx context.Context, k *statefile.Saved, scratch *os.File, from, to time.Time) (asSaved string, err error) {
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	var rw *rewriter
	r.forked(func() { rw, err = startRewriter(k.File, scratch, k.Offset, from, to) })
	if err != nil {
		return "", fmt.Errorf("rewriter: %w", err)
	}
	why := rw.wait(ctx)
	if why == nil {
		return "", nil
	}
	if errors.As(why, new(clockError)) {
		return "", why
	}
	return fmt.Sprintf("%d bytes: %v", k.Size, why), k.SetAside(scratch)
}

// rewriterTime bounds the life of one, in wall time: its processor time is bounded, but a busy machine may give it little.
const rewriterTime = time.Minute

// A clockError is a saved kernel whose clock could not be stopped. It makes no snapshot: in a copy every timer would
// fire at once.
type clockError struct{ error }

// rewriter is one that runs.
type rewriter struct {
	cmd    *exec.Cmd
	said   *os.File // its pipe
	stderr bytes.Buffer
}

// startRewriter forks one. Only the forker calls it: the launcher is in a sandbox's cgroups now and then.
func startRewriter(state, scratch *os.File, offset int64, from, to time.Time) (*rewriter, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var args []string
	for _, n := range []int64{offset, from.UnixNano(), to.UnixNano()} {
		args = append(args, strconv.FormatInt(n, 10))
	}
	rw := &rewriter{said: r}
	rw.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{"thaw-sandbox", "rewrite"}, args...), Dir: "/",
		Env:        []string{"GOMAXPROCS=2", "GODEBUG=containermaxprocs=0"}, // one for the work, one for the collector; no look at cgroup files
		Stderr:     &limitedBuffer{&rw.stderr, 4 << 10},
		ExtraFiles: []*os.File{state, scratch, w},
		// It ends with the launcher; confine says it again.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL},
		WaitDelay:   time.Second,
	}
	if err := rw.cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	return rw, nil
}

// limitedBuffer keeps the beginning of what is written.
type limitedBuffer struct {
	*bytes.Buffer
	room int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.room -= n
	b.Buffer.Write(p[:n])
	return len(p), nil
}

// wait returns nil when the scratch file has the kernel, written anew, and otherwise why it has not: a clockError, if
// the clock was not even stopped. The end of ctx ends the rewriter.
func (rw *rewriter) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rewriterTime, fmt.Errorf("it took more than %v", rewriterTime))
	defer cancel()
	defer context.AfterFunc(ctx, func() { rw.cmd.Process.Kill() })()
	said, _ := io.ReadAll(io.LimitReader(rw.said, 4<<10))
	rw.said.Close()
	ended := rw.cmd.Wait()
	var clock, rewritten bool
	var why []string
	for line := range strings.Lines(string(said)) {
		switch line = strings.TrimSuffix(line, "\n"); line {
		case saidClock:
			clock = true
		case saidRewritten:
			rewritten = true
		default:
			why = append(why, line)
		}
	}
	if clock && rewritten && ended == nil {
		return nil
	}
	if len(why) == 0 {
		why = append(why, rw.cause(ctx, ended))
	}
	err := errors.New(strings.Join(why, "; "))
	if !clock {
		return clockError{err}
	}
	return err
}

// cause is for a rewriter that did not say it itself.
func (rw *rewriter) cause(ctx context.Context, ended error) string {
	if err := context.Cause(ctx); err != nil {
		return err.Error()
	}
	if line, _, _ := strings.Cut(rw.stderr.String(), "\n"); line != "" {
		return line // of Go's runtime: out of memory
	}
	if ended == nil {
		return "it ended early"
	}
	return ended.Error()
}
