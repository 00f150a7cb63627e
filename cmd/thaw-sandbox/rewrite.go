package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rewriters is how many of them run at a time.
const rewriters = 4

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

// kernelFile is a state file as a sandbox has written it. Of the kernel in it nothing is looked at here.
type kernelFile struct {
	f        *os.File
	metadata map[string]string
	offset   int64 // where the kernel begins
	size     int64 // of the kernel
}

// maxHeader bounds the header of a state file that a sandbox has written, in bytes. Seen: 3 KB.
const maxHeader = 1 << 20

func openKernel(f *os.File) (*kernelFile, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxPart {
		return nil, fmt.Errorf("%d bytes, of which %d can be restored", fi.Size(), maxPart)
	}
	head := make([]byte, 16)
	if _, err := f.ReadAt(head, 0); err != nil || !bytes.HasPrefix(head, magic) {
		return nil, fmt.Errorf("%w: no state file", errDamaged)
	}
	n := binary.BigEndian.Uint64(head[len(magic):])
	if n > maxHeader || int64(n) > fi.Size()-16 {
		return nil, fmt.Errorf("%w: header of %d bytes", errDamaged, n)
	}
	k := &kernelFile{f: f, offset: 16 + int64(n), size: fi.Size() - 16 - int64(n)}
	head = make([]byte, n)
	if _, err := f.ReadAt(head, 16); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(head, &k.metadata); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errDamaged, err)
	}
	if k.metadata == nil {
		return nil, fmt.Errorf("%w: no header", errDamaged)
	}
	return k, nil
}

// setAside copies the kernel, as it was saved, into the scratch file.
func (k *kernelFile) setAside(scratch *os.File) error {
	if err := scratch.Truncate(0); err != nil {
		return err
	}
	_, err := io.Copy(io.NewOffsetWriter(scratch, 0), io.NewSectionReader(k.f, k.offset, k.size))
	return err
}

// replace writes the state file anew: the header, and the kernel that is in the scratch file.
func (k *kernelFile) replace(header []byte, scratch *os.File, size int64) error {
	if err := k.f.Truncate(0); err != nil {
		return err
	}
	if _, err := k.f.WriteAt(header, 0); err != nil {
		return err
	}
	_, err := io.Copy(io.NewOffsetWriter(k.f, int64(len(header))), io.NewSectionReader(scratch, 0, size))
	return err
}

// sumFile is the sum, and the size, of a file whose writer may not be trusted: it is read in steps, and not past max bytes.
func sumFile(f *os.File, max int64) (uint32, int64, error) {
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.NewSectionReader(f, 0, max+1))
	if err == nil && n > max {
		err = fmt.Errorf("more than %d bytes", max)
	}
	return h.Sum32(), n, err
}
