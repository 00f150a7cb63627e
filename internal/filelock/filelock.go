// Package filelock waits for a file's lock, which ends with the process that holds it. Who makes things in a folder that
// several processes share holds one meanwhile; what such a process leaves half-made is the next holder's to remove.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pause is how long it waits between two looks: a wait that ctx can end has no wake-up.
const pause = 100 * time.Millisecond

// Wait makes the file, if it is missing, and returns it when no other process has it locked; to close it lets go of the
// lock. waiting is told once when somebody has it; nil: nobody is told. The error wraps ctx's cause when that ends first.
func Wait(ctx context.Context, path string, waiting func()) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for told := waiting == nil; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock of %s: %w", path, err)
		}
		if !told {
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%s is locked by another process: %w", path, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
