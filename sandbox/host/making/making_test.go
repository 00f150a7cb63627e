package making

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

func TestAnExhaustedHostIsNotABrokenOne(t *testing.T) {
	for errno, want := range map[unix.Errno]string{unix.ENOSPC: "disk", unix.EAGAIN: "processes", unix.EMFILE: "files", unix.EPERM: "", unix.EIO: ""} {
		err := Failed("slot", "folder", fmt.Errorf("mkdir: %w", errno))
		var room *sandbox.ResourceError
		if got := errors.As(err, &room); got != (want != "") || got && room.Resource != want {
			t.Errorf("%v is %v, want %q", errno, err, want)
		}
		if !errors.Is(err, errno) {
			t.Errorf("%v does not say %v", err, errno)
		}
	}
}
