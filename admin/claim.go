package admin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dyingLimit bounds the wait for a server that was killed: a big process takes its time to go.
const dyingLimit = 10 * time.Second

// Claim takes a data folder for this process, before anything in it is opened: two servers on one folder would ruin its
// records. The kernel lets go of the claim when the process ends, however it ends. *RunningError when another process
// has it, and is not about to end because it was killed.
func Claim(dataDir string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dataDir, "thaw.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim of the data folder: %w", err)
	}
	for end := time.Now().Add(dyingLimit); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("claim of the data folder: %w", err)
		}
		running := &RunningError{DataDir: dataDir}
		if b, err := os.ReadFile(f.Name()); err == nil {
			running.PID, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		if running.PID == 0 || !dying(running.PID) || time.Now().After(end) {
			f.Close()
			return nil, running
		}
	}
	// The file stays when the claim ends: removing it would let two claimants hold two files of one name.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("claim of the data folder: %w", err)
	}
	// Unlocked, not only closed: a child that is being started at this moment has the file too, until it executes its program.
	return func() error { return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close()) }, nil
}
