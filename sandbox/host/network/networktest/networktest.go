// Package networktest is a small internet with a host, for tests of what sandboxes reach.
package networktest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"thaw/sandbox/host/network"
)

// insideVar tells a test that it runs in namespaces of its own.
const insideVar = "THAW_NETWORK_TEST_INSIDE"

// Alone runs the calling test again in a process with its own network namespace, beside other tests, and reports whether
// this is that process. env makes more of its environment.
func Alone(t *testing.T, env func() []string) bool {
	t.Helper()
	if os.Getenv(insideVar) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd.Env = append(append(os.Environ(), insideVar+"="+t.Name()), env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("in its own network namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return false
}

// In runs do in a network namespace.
func In(t *testing.T, ns netns.NsHandle, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	defer netns.Set(old)
	do()
}

// Serve answers every connection to addr with word.
func Serve(t *testing.T, addr, word string) {
	t.Helper()
	ServeEach(t, addr, func(string) string { return word })
}

// ServeEach answers every connection to addr by the address that it comes from.
func ServeEach(t *testing.T, addr string, answer func(peer string) string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			io.WriteString(c, answer(host))
			c.Close()
		}
	}()
}

// ServeUDP answers every packet to addr with word and the address that it comes from.
func ServeUDP(t *testing.T, addr, word string) {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo([]byte(word+" "+from.String()), from)
		}
	}()
}

// Lab makes the test's own namespace a host with an uplink to a small internet. There, 198.51.100.7 answers at port 80
// with "internet", and by UDP at port 53 with the address that it sees; 169.254.169.254 answers with "metadata", the
// host's neighbour 203.0.113.1 with "neighbour". The host itself, 203.0.113.2 at up0, answers at port 7000 of its loopback,
// at 7001 of every address, and at 7002 by IPv6. internet is the namespace of the other side.
func Lab(t *testing.T) (internet netns.NsHandle) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := network.NewNamespace()
	must(err)
	t.Cleanup(func() { f.Close() })
	ns := netns.NsHandle(f.Fd())
	up := func(h *netlink.Handle, name string, addrs ...string) netlink.Link {
		l, err := h.LinkByName(name)
		must(err)
		must(h.LinkSetUp(l))
		for _, a := range addrs {
			ad, err := netlink.ParseAddr(a)
			must(err)
			if ad.IP.To4() == nil {
				ad.Flags = unix.IFA_F_NODAD
			}
			must(h.AddrAdd(l, ad))
		}
		return l
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(err)
	defer host.Close()
	far, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(err)
	defer far.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	v := netlink.NewVeth(attrs)
	v.PeerName, v.PeerNamespace = "down0", netlink.NsFd(ns)
	must(host.LinkAdd(v))
	up(host, "lo")
	uplink := up(host, "up0", "203.0.113.2/24", "fd00:113::2/64")
	up(far, "lo", "198.51.100.7/32", "169.254.169.254/32")
	up(far, "down0", "203.0.113.1/24")
	must(host.RouteAdd(&netlink.Route{LinkIndex: uplink.Attrs().Index, Gw: net.IPv4(203, 0, 113, 1)}))
	In(t, ns, func() {
		Serve(t, "198.51.100.7:80", "internet")
		Serve(t, "169.254.169.254:80", "metadata")
		Serve(t, "203.0.113.1:80", "neighbour")
		ServeUDP(t, "198.51.100.7:53", "from")
	})
	Serve(t, "127.0.0.1:7000", "host loopback")
	Serve(t, "0.0.0.0:7001", "host")
	Serve(t, "[fd00:113::2]:7002", "host")
	return ns
}

// ServeNames answers every question for an address with one, and for big.test with a hundred, by TCP only.
func ServeNames(t *testing.T, addr, answer string) {
	t.Helper()
	reply := func(query []byte, tcp bool) []byte {
		var m dnsmessage.Message
		if m.Unpack(query) != nil || len(m.Questions) != 1 {
			return nil
		}
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
		m.Additionals = nil
		q := m.Questions[0]
		n := 1
		if q.Name.String() == "big.test." {
			if n = 100; !tcp {
				n, m.Truncated = 0, true
			}
		}
		if q.Type == dnsmessage.TypeA {
			for i := range n {
				a := netip.MustParseAddr(answer).As4()
				a[3] += byte(i)
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: a}})
			}
		}
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return b
	}
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(reply(buf[:n], false), from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			head := make([]byte, 2)
			for {
				if _, err := io.ReadFull(c, head); err != nil {
					break
				}
				query := make([]byte, binary.BigEndian.Uint16(head))
				if _, err := io.ReadFull(c, query); err != nil {
					break
				}
				a := reply(query, true)
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
			}
			c.Close()
		}
	}()
}
