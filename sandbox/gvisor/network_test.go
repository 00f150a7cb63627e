package gvisor

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"thaw/sandbox"
	"thaw/sandbox/host/network"
)

// inside tells a test that it runs in namespaces of its own.
const insideVar = "THAW_GVISOR_TEST_INSIDE"

// alone runs the calling test again in a process with its own network namespace, beside other tests, and reports whether
// this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVar) == t.Name() {
		return true
	}
	needRoot(t)
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd.Env = append(append(os.Environ(), insideVar+"="+t.Name()), ownPrograms(t)...)
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

// in runs do in a network namespace.
func in(t *testing.T, ns netns.NsHandle, do func()) {
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

// serve answers every connection to addr with word.
func serve(t *testing.T, addr, word string) {
	t.Helper()
	serveEach(t, addr, func(string) string { return word })
}

// serveEach answers every connection to addr by the address that it comes from.
func serveEach(t *testing.T, addr string, answer func(peer string) string) {
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

func serveUDP(t *testing.T, addr, word string) {
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

// inLab runs the calling test like alone, in a lab.
func inLab(t *testing.T) bool {
	t.Helper()
	if !alone(t) {
		return false
	}
	newLab(t)
	return true
}

// online gives sandboxes the lab's internet.
func online(o *Options) {
	o.Network = network.Options{Internet: true, DNS: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}
}

// newLab makes the test's own namespace a host with an uplink to a small internet.
func newLab(t *testing.T) {
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
	host, err := netlink.NewHandle()
	must(err)
	defer host.Close()
	far, err := netlink.NewHandleAt(ns)
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
	in(t, ns, func() {
		serve(t, "198.51.100.7:80", "internet")
		serve(t, "169.254.169.254:80", "metadata")
		serve(t, "203.0.113.1:80", "neighbour")
		serveUDP(t, "198.51.100.7:53", "from")
	})
	serve(t, "127.0.0.1:7000", "host loopback")
	serve(t, "0.0.0.0:7001", "host")
	serve(t, "[fd00:113::2]:7002", "host")
}

func TestFunctionReachesTheInternetAndNothingOfTheHost(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := open(t, online)
	if b.nets == nil {
		t.Fatal("no network")
	}
	g := create(t, b, sandbox.Spec{ID: "a"})
	other := create(t, b, sandbox.Spec{ID: "b"})
	outside := func(g *guestOf) netip.Addr { return g.Sandbox.(*Sandbox).net.Outside() }
	if got := g.must("addrs"); !strings.Contains(got, network.Inside.String()) || strings.Contains(got, "fe80") {
		t.Errorf("addresses inside: %s, want %v and no IPv6 but the loopback's", got, network.Inside)
	}
	for _, c := range []struct{ name, network, addr, want string }{
		{"a server of the internet by TCP", "tcp", "198.51.100.7:80", "internet"},
		{"a neighbour of the host", "tcp", "203.0.113.1:80", "neighbour"},
		{"a server of the internet by UDP, which sees the host's address", "udp", "198.51.100.7:53", "from 203.0.113.2:"},
	} {
		t.Run("reaches "+c.name, func(t *testing.T) {
			for _, g := range []*guestOf{g, other} {
				if got := g.must("dial %s %s", c.network, c.addr); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s answered %q, want %q", c.addr, got, c.want)
				}
			}
		})
	}
	other.must("listen 0.0.0.0:7003")
	if got := other.must("dial tcp 127.0.0.1:7003"); got != "guest" {
		t.Fatalf("a sandbox's own loopback answered %q", got)
	}
	for _, c := range []struct{ name, addr string }{
		{"the host's loopback", "127.0.0.1:7000"},
		{"every address of the host on its loopback", "127.0.0.1:7001"},
		{"the host's address", "203.0.113.2:7001"},
		{"the host as gateway", network.Gateway.String() + ":7001"},
		{"link-local metadata", "169.254.169.254:80"},
		{"itself from outside", outside(g).String() + ":7001"},
		{"another sandbox", outside(other).String() + ":7003"},
		{"the host by IPv6", "[fd00:113::2]:7002"},
		{"the host's loopback by IPv6", "[::1]:7001"},
	} {
		t.Run("does not reach "+c.name, func(t *testing.T) {
			if got := g.do("dial tcp %s", c.addr); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s answered %q", c.addr, got)
			}
		})
	}
	t.Run("is not reached by the host", func(t *testing.T) {
		c, err := net.DialTimeout("tcp", outside(other).String()+":7003", 1e9)
		if err == nil {
			c.Close()
			t.Error("the host got through")
		}
	})
	t.Run("switched on forwarding where answers arrive, and only there", func(t *testing.T) {
		for dev, want := range map[string]string{"up0": "1", "all": "0", "default": "0", "lo": "0"} {
			if got := forwarding(t, dev); got != want {
				t.Errorf("forwarding of %s is %s, want %s", dev, got, want)
			}
		}
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("leaves nothing", func(t *testing.T) {
		if got := forwarding(t, "up0"); got != "0" {
			t.Errorf("forwarding of up0 is still %s", got)
		}
		links, err := netlink.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "tw") {
				t.Errorf("device %s is still there", l.Attrs().Name)
			}
		}
	})
}

func forwarding(t *testing.T, dev string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/sys/net/ipv4/conf/%s/forwarding", dev))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
