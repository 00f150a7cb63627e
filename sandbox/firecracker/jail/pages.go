package jail

import (
	"errors"
	"fmt"

	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/vmm"
)

// servePages makes the socket in the jail by which Firecracker hands over the machine's empty memory, and whoever serves it.
// The machine hangs where a page is missing, so it ends with its server.
func (x *Machine) servePages(s vmm.Saved) error {
	if s.Pages == nil {
		return errors.New("nothing has the machine's memory")
	}
	server, err := pages.Listen(pages.Options{Path: x.inRoot(pagesSocket), UID: x.slot.UID, GID: x.slot.GID, Source: s.Pages,
		WorkingSet: s.WorkingSet, Trace: s.Trace})
	if err != nil {
		return err
	}
	x.tidy.Go(func() {
		select {
		case <-server.Done():
			x.fail(server.Err())
		case <-x.exited:
		}
		server.Close()
	})
	return nil
}

// fail ends the process because of an error of ours; nil: it is ending already.
func (x *Machine) fail(err error) {
	if err == nil {
		return
	}
	x.mu.Lock()
	if !x.closed && x.err == nil {
		x.err = fmt.Errorf("the machine's memory cannot be served any more: %w", err)
	}
	x.mu.Unlock()
	x.kill()
}
