package pages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	maxMessage = 64 << 10
	maxRegions = 64 // Firecracker has two, below and above the hole for devices under 4 GiB
)

// region is a part of the machine's memory as it lies in the monitor. Names are of Firecracker's message; others are its own.
type region struct {
	Base   uint64 `json:"base_host_virt_addr"`
	Size   uint64 `json:"size"`
	Offset uint64 `json:"offset"` // in the saved memory
	Page   uint64 `json:"page_size"`
	// PageKiB is what older versions call Page, though they mean bytes as well.
	PageKiB uint64 `json:"page_size_kib"`
}

// receive takes the one message of a monitor: its userfaultfd, and where its memory is.
func receive(c *net.UnixConn, uid int, size int64) (fd int, regions []region, err error) {
	if err := checkPeer(c, uid); err != nil {
		return -1, nil, err
	}
	fd, message, err := readMessage(c)
	if err != nil {
		return -1, nil, err
	}
	if regions, err = parseRegions(message, size); err == nil {
		err = checkDescriptor(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, regions, nil
}

// checkPeer lets nobody in but the slot's user.
func checkPeer(c *net.UnixConn, uid int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("page server: %w", credErr)
	}
	if int(cred.Uid) != uid {
		return refuse("user %d connected, not user %d", cred.Uid, uid)
	}
	return nil
}

// readMessage reads until what came is whole: JSON says itself where it ends. It may come in pieces; the descriptor comes with the first.
func readMessage(c *net.UnixConn) (fd int, message []byte, err error) {
	fd = -1
	defer func() {
		if err != nil && fd >= 0 {
			unix.Close(fd)
		}
	}()
	buf, oob := make([]byte, maxMessage+1), make([]byte, unix.CmsgSpace(8*4))
	for n := 0; ; {
		k, oobn, flags, _, err := c.ReadMsgUnix(buf[n:], oob)
		if oobn > 0 || flags&unix.MSG_CTRUNC != 0 {
			got, perr := descriptors(oob[:oobn])
			if perr != nil || flags&unix.MSG_CTRUNC != 0 || len(got) != 1 || fd >= 0 {
				closeAll(got)
				return fd, nil, errors.Join(refuse("not one descriptor"), perr)
			}
			fd = got[0]
		}
		n += max(k, 0) // -1 with an error
		if json.Valid(buf[:n]) && n > 0 {
			if fd < 0 {
				return fd, nil, refuse("no descriptor")
			}
			return fd, buf[:n], nil
		}
		if n > maxMessage {
			return fd, nil, refuse("a message of more than %d bytes", maxMessage)
		}
		if errors.Is(err, io.EOF) || err == nil && k == 0 {
			return fd, nil, refuse("a message that ends after %d bytes", n)
		}
		if err != nil {
			return fd, nil, fmt.Errorf("page server: %w", err)
		}
	}
}

func descriptors(oob []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, perr := unix.ParseUnixRights(&messages[i])
		all, err = append(all, fds...), errors.Join(err, perr)
	}
	return all, err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// parseRegions reads the list of regions, of a memory with so many bytes. They come sorted by their bases.
func parseRegions(message []byte, size int64) ([]region, error) {
	var regions []region
	if err := json.Unmarshal(message, &regions); err != nil {
		return nil, refuse("%v", err)
	}
	if len(regions) == 0 || len(regions) > maxRegions {
		return nil, refuse("%d regions", len(regions))
	}
	all := uint64(pagesOf(size)) * Size
	const top = 1 << 56 // above all that a process can map
	for _, r := range regions {
		page := max(r.Page, r.PageKiB)
		switch {
		case page != Size:
			return nil, refuse("pages of %d bytes", page)
		case r.Size == 0 || r.Size%Size != 0 || r.Base%Size != 0 || r.Offset%Size != 0:
			return nil, refuse("a region that is not made of pages")
		case r.Size > all || r.Offset > all-r.Size:
			return nil, refuse("a region of %d bytes at %d, in a memory of %d", r.Size, r.Offset, all)
		case r.Base == 0 || r.Base > top || r.Size > top-r.Base:
			return nil, refuse("a region at address %#x", r.Base)
		}
	}
	for _, of := range []func(region) uint64{func(r region) uint64 { return r.Offset }, func(r region) uint64 { return r.Base }} {
		slices.SortFunc(regions, func(a, b region) int {
			if of(a) < of(b) {
				return -1
			}
			return 1
		})
		for i := 1; i < len(regions); i++ {
			if of(regions[i]) < of(regions[i-1])+regions[i-1].Size {
				return nil, refuse("regions that overlap")
			}
		}
	}
	return regions, nil
}

// checkDescriptor lets no other kind of file in: what is done to it would do something else there.
func checkDescriptor(fd int) error {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return fmt.Errorf("page server: %w", err)
	}
	if name != "anon_inode:[userfaultfd]" {
		return refuse("a descriptor of %s", name)
	}
	return unix.SetNonblock(fd, true)
}
