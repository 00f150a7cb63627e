package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
	"thaw/guest/machine/forkid"
)

// save prepares the machine for being copied. The function's processes stand still from here on until the copy has what
// is its own: none of them reads a stale clock, or draws what another copy draws.
func (m *machine) save() error {
	if err := m.group.freeze(savePatience); err != nil {
		return err
	}
	pids, err := m.group.processes()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.saves++
	n := m.saves
	m.mu.Unlock()
	if err := forkid.Renew(m.host.proc, pids, n); err != nil {
		return err
	}
	return m.host.save()
}

// restored makes a copy a machine of its own.
func (m *machine) restored(r *control.Restored) error {
	if err := m.host.refresh(r.Fresh); err != nil {
		return err
	}
	if err := m.host.rewriteFiles(r.Files); err != nil {
		return err
	}
	return m.group.thaw()
}

// refresh gives the machine the host's clock, and randomness that no other has. A copy has the memory of the original,
// and with it the state of the kernel's generator: so what is new must be mixed in, and the generator told to use it
// at once, not when its time has come.
func (h *host) refresh(f control.Fresh) error {
	now := unix.NsecToTimespec(f.UnixNano)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if len(f.Entropy) < 32 {
		return errors.New("randomness: fewer than 32 bytes")
	}
	fd, err := unix.Openat(int(h.dev.Fd()), "urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "urandom", Err: err}
	}
	defer unix.Close(fd)
	// struct rand_pool_info: bits that it is worth, bytes, the bytes.
	pool := binary.NativeEndian.AppendUint32(nil, uint32(8*len(f.Entropy)))
	pool = binary.NativeEndian.AppendUint32(pool, uint32(len(f.Entropy)))
	pool = append(pool, f.Entropy...)
	if err := ioctl(fd, unix.RNDADDENTROPY, pool); err != nil {
		return fmt.Errorf("randomness: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0); err != nil {
		return fmt.Errorf("randomness: %w", err)
	}
	return nil
}
