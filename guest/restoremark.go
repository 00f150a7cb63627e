package guest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A runtime that has a random generator of its own, or anything else that copies must not share, can see that it was
// restored without speaking a protocol: a file says which copy this is, and a signal says when, to those that ask for
// it. Both are done before the runtime gets an answer from the API, so a program that looks at the file at each event
// never draws for a second copy what a first one drew.

const (
	// restoreFile is empty until the first restore. Then it is one line of 26 letters and digits, new after each.
	restoreFile = "/run/thaw/restored"
	// restoreFileVar tells programs under SnapStart where that is.
	restoreFileVar = "THAW_RESTORE_FILE"
	// restoreSignalVar is set by the customer: the signal that the runtime's first process is sent after each restore.
	restoreSignalVar = "THAW_RESTORE_SIGNAL"
)

// restoreSignals are those that a program does not get by other ways.
var restoreSignals = map[string]syscall.Signal{"SIGUSR1": unix.SIGUSR1, "SIGUSR2": unix.SIGUSR2, "SIGHUP": unix.SIGHUP, "SIGWINCH": unix.SIGWINCH}

// restoreMark is how a runtime is told.
type restoreMark struct {
	file   *os.File // nil: this sandbox is never restored
	signal syscall.Signal
}

// prepare makes the file. It stays over generations.
func (m *restoreMark) prepare(vars []string) error {
	m.signal = 0
	if name := variable(vars, restoreSignalVar); name != "" {
		full := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
		var ok bool
		if m.signal, ok = restoreSignals[full]; !ok {
			return &launchError{"Runtime.InvalidEntrypoint", fmt.Sprintf("%s is %q; it can be SIGUSR1, SIGUSR2, SIGHUP or SIGWINCH", restoreSignalVar, name), nil}
		}
	}
	if m.file != nil {
		return nil
	}
	if err := unix.Mount("tmpfs", filepath.Dir(restoreFile), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=65536,mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", filepath.Dir(restoreFile), err)
	}
	var err error
	m.file, err = os.OpenFile(restoreFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	return err
}

// tell changes the file, in one write, so that nobody reads half of it.
func (m *restoreMark) tell(p *processes) error {
	if m.file == nil {
		return nil
	}
	if _, err := m.file.WriteAt([]byte(rand.Text()+"\n"), 0); err != nil {
		return fmt.Errorf("%s: %w", restoreFile, err)
	}
	if m.signal != 0 {
		p.signalRuntime(m.signal)
	}
	return nil
}
