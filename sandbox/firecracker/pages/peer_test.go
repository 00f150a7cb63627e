package pages

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"thaw/sandbox/firecracker/pages/pagestest"
)

// The monitor of these tests is the test binary again (see peer), in a process of its own: it maps memory, hands it over as
// Firecracker does, and touches it as it is told on its standard input.

// monitor is that process, seen from the test.
type monitor struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const peerVar = "THAW_TEST_PEER"

// newMonitor starts one that has sizes bytes of memory, each as a region of its own.
func newMonitor(t testing.TB, socket string, sizes ...int64) *monitor {
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
func peer(socket string, sizes []string) {
	var parts []int64
	for _, s := range sizes {
		n, _ := strconv.ParseInt(s, 10, 64)
		parts = append(parts, n)
	}
	m, err := pagestest.Open(parts...)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(do(m, socket, strings.Fields(in.Text())))
	}
}

func do(m *pagestest.Memory, socket string, order []string) any {
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(order[i], 10, 64)
		return n
	}
	switch order[0] {
	case "hand-over":
		return m.HandOver(socket)
	case "sum": // of pages that come one after another
		h := crc32.NewIEEE()
		for i := range number(2) {
			h.Write(m.Page(number(1) + i))
		}
		return h.Sum32()
	case "read": // the first byte of each of some pages
		var got []byte
		for i := range order[1:] {
			got = append(got, m.Page(number(i + 1))[0])
		}
		return fmt.Sprint(got)
	case "write":
		m.Page(number(1))[0] = byte(number(2))
		return "ok"
	case "give-back":
		return m.GiveBack(number(1), number(2))
	}
	return "unknown order"
}

func TestMain(m *testing.M) {
	if args := os.Getenv(peerVar); args != "" {
		peer(strings.Fields(args)[0], strings.Fields(args)[1:])
		return
	}
	os.Exit(m.Run())
}

// probe skips the test where there is no userfaultfd for us.
func probe(t testing.TB) {
	t.Helper()
	if err := pagestest.Probe(); err != nil {
		t.Skipf("no userfaultfd: %v", err)
	}
}
