package pages

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The monitor of these tests is the test binary again (see peer), in a process of its own: it maps memory, hands it over as
// Firecracker does, and touches it as it is told on its standard input.

// monitor is that process, seen from the test.
type monitor struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const peerVar = "THAW_TEST_PEER"

// newMonitor starts one that has sizes bytes of memory, each as a region of its own.
func newMonitor(t *testing.T, socket string, sizes ...int64) *monitor {
	t.Helper()
	probe(t)
	args := []string{socket}
	for _, s := range sizes {
		args = append(args, strconv.FormatInt(s, 10))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), peerVar+"="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &monitor{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(m.kill)
	return m
}

func (m *monitor) kill() {
	m.cmd.Process.Kill() //nolint:errcheck // it may have ended
	m.cmd.Wait()         //nolint:errcheck // killed
}

// say gives an order, and waits for the answer.
func (m *monitor) say(format string, args ...any) string {
	m.t.Helper()
	m.order(format, args...)
	line, err := m.out.ReadString('\n')
	if err != nil {
		m.t.Fatalf("%s: the monitor has ended: %v", fmt.Sprintf(format, args...), err)
	}
	return strings.TrimSpace(line)
}

func (m *monitor) order(format string, args ...any) {
	m.t.Helper()
	if _, err := fmt.Fprintf(m.in, format+"\n", args...); err != nil {
		m.t.Fatal(err)
	}
}

// sum orders the checksum of pages, and holds that it is that of the source.
func (m *monitor) sum(source io.ReaderAt, page, count int64) {
	m.t.Helper()
	want := make([]byte, count*Size)
	if _, err := source.ReadAt(want, page*Size); err != nil && err != io.EOF {
		m.t.Fatal(err)
	}
	if is, should := m.say("sum %d %d", page, count), fmt.Sprint(crc32.ChecksumIEEE(want)); is != should {
		m.t.Errorf("pages %d to %d: the machine sees others than were saved", page, page+count)
	}
}

// peer is the monitor's own life.
func peer(args []string) {
	m, err := openPeer(args[0], args[1:])
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(m.do(strings.Fields(in.Text())))
	}
}

type peerMemory struct {
	socket string
	parts  [][]byte
	fd     int
	conn   *net.UnixConn
}

func openPeer(socket string, sizes []string) (*peerMemory, error) {
	m := &peerMemory{socket: socket}
	fd, err := newUserfaultfd()
	if err != nil {
		return nil, err
	}
	m.fd = fd
	for _, s := range sizes {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			return nil, err
		}
		m.parts = append(m.parts, b)
		register := struct{ start, len, mode, ioctls uint64 }{address(b), uint64(n), 1, 0}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 0xc020aa00, uintptr(unsafe.Pointer(&register))); e != 0 {
			return nil, fmt.Errorf("register: %w", e)
		}
	}
	return m, nil
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// newUserfaultfd opens one as Firecracker does: with events of what is given back.
func newUserfaultfd() (int, error) {
	dev, err := os.OpenFile("/dev/userfaultfd", os.O_RDWR, 0)
	if err != nil {
		return -1, err
	}
	defer dev.Close()
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), 0xaa00, unix.O_CLOEXEC|unix.O_NONBLOCK)
	if e != 0 {
		return -1, e
	}
	api := struct{ api, features, ioctls uint64 }{0xaa, 1 << 3, 0}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, 0xc018aa3f, uintptr(unsafe.Pointer(&api))); e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// regions is the message, as Firecracker 1.12 writes it.
func (m *peerMemory) regions() []region {
	var list []region
	var at uint64
	for _, b := range m.parts {
		list = append(list, region{Base: address(b), Size: uint64(len(b)), Offset: at, Page: Size, PageKiB: Size})
		at += uint64(len(b))
	}
	return list
}

func (m *peerMemory) send(message []byte, fds ...int) error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: m.socket, Net: "unix"})
	if err != nil {
		return err
	}
	m.conn = c // left open, as Firecracker does
	_, _, err = c.WriteMsgUnix(message, unix.UnixRights(fds...), nil)
	return err
}

// page is where a page of the saved memory is mapped.
func (m *peerMemory) page(i int64) []byte {
	for _, b := range m.parts {
		if i*Size < int64(len(b)) {
			return b[i*Size : (i+1)*Size]
		}
		i -= int64(len(b)) / Size
	}
	panic("no such page")
}

func (m *peerMemory) do(order []string) any {
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(order[i], 10, 64)
		return n
	}
	switch order[0] {
	case "hand-over":
		b, err := json.Marshal(m.regions())
		if err == nil {
			err = m.send(b, m.fd)
		}
		return err
	case "sum": // of pages that come one after another
		h := crc32.NewIEEE()
		for i := range number(2) {
			h.Write(m.page(number(1) + i))
		}
		return h.Sum32()
	case "read": // the first byte of each of some pages
		var got []byte
		for i := range order[1:] {
			got = append(got, m.page(number(i + 1))[0])
		}
		return fmt.Sprint(got)
	case "write":
		m.page(number(1))[0] = byte(number(2))
		return "ok"
	case "give-back":
		b := m.page(number(1))
		return unix.Madvise(unsafe.Slice(&b[0], number(2)*Size), unix.MADV_DONTNEED)
	}
	return "unknown order"
}

func TestMain(m *testing.M) {
	if args := os.Getenv(peerVar); args != "" {
		peer(strings.Fields(args))
		return
	}
	os.Exit(m.Run())
}

// probe skips the test where there is no userfaultfd for us.
func probe(t *testing.T) {
	t.Helper()
	fd, err := newUserfaultfd()
	if err != nil {
		t.Skipf("no userfaultfd: %v", err)
	}
	unix.Close(fd)
}
