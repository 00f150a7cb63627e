package network_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"thaw/sandbox/host"
	"thaw/sandbox/host/network"
	"thaw/sandbox/host/network/networktest"
)

// patience bounds what takes milliseconds on an idle machine; silence is how long nobody must answer.
const patience, silence = time.Minute, 300 * time.Millisecond

// machine stands for a machine on its tap: a namespace with the kernel's own network stack, whose device is the other end.
type machine struct {
	t       *testing.T
	network *network.Network
	ns      netns.NsHandle
	eth     *netlink.Handle
	device  netlink.Link
}

// openTap takes hold of a tap of the namespace as somebody who has no capability. The frames have virtio's header.
func openTap(ns netns.NsHandle, name string, uid, gid int) (f *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocks: the thread ends with what it has become
		if err = netns.Set(ns); err != nil {
			return
		}
		fd, e := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err = e; err != nil {
			return
		}
		if uid != 0 {
			_, _, e1 := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)) // of this thread alone
			_, _, e2 := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
			if e1 != 0 || e2 != 0 {
				err = fmt.Errorf("another user: %w, %w", e1, e2)
				return
			}
		}
		var req struct {
			name  [unix.IFNAMSIZ]byte
			flags uint16
			_     [22]byte
		}
		copy(req.name[:], name)
		req.flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req))); e != 0 {
			unix.Close(fd)
			err = e
			return
		}
		const offload = 1 | 2 // checksums, and TCP segments larger than a frame. Source: linux/if_tun.h, TUN_F_CSUM, TUN_F_TSO4
		if err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offload); err == nil {
			err = unix.SetNonblock(fd, true)
		}
		f = os.NewFile(uintptr(fd), "tap")
	}()
	<-done
	return f, err
}

// attach joins a machine to the tap of a network. mtu is the machine's own idea.
func attach(t *testing.T, n *network.Network, uid, gid, mtu int) *machine {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	own, err := network.NewNamespace()
	must(err)
	t.Cleanup(func() { own.Close() })
	m := &machine{t: t, network: n, ns: netns.NsHandle(own.Fd())}
	outer, err := openTap(netns.NsHandle(n.Namespace().Fd()), network.Tap, uid, gid)
	must(err)
	inner, err := openTap(m.ns, "eth0", 0, 0)
	must(err)
	for _, pair := range [][2]*os.File{{outer, inner}, {inner, outer}} {
		t.Cleanup(func() { pair[0].Close() })
		go func() {
			frame := make([]byte, 80<<10)
			for {
				k, err := pair[0].Read(frame)
				if err != nil {
					return
				}
				pair[1].Write(frame[:k])
			}
		}()
	}
	m.eth, err = netlink.NewHandleAt(m.ns, unix.NETLINK_ROUTE)
	must(err)
	t.Cleanup(m.eth.Close)
	m.device, err = m.eth.LinkByName("eth0")
	must(err)
	must(m.eth.LinkSetHardwareAddr(m.device, network.MachineMAC))
	must(m.eth.LinkSetMTU(m.device, mtu))
	m.address(network.Inside.String())
	must(m.eth.LinkSetUp(m.device))
	must(m.eth.RouteAdd(&netlink.Route{LinkIndex: m.device.Attrs().Index, Gw: network.Gateway.AsSlice()}))
	return m
}

func (m *machine) address(a string) {
	m.t.Helper()
	addr, err := netlink.ParseAddr(a)
	if err == nil {
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		err = m.eth.AddrAdd(m.device, addr)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// dial connects from inside.
func (m *machine) dial(network, addr string, local net.Addr, limit time.Duration) (c net.Conn, err error) {
	m.t.Helper()
	networktest.In(m.t, m.ns, func() { c, err = (&net.Dialer{LocalAddr: local, Timeout: limit}).Dial(network, addr) })
	if err == nil {
		c.SetDeadline(time.Now().Add(limit))
	}
	return c, err
}

// ask says something to a server and gives its answer.
func (m *machine) ask(network, addr string, local net.Addr, limit time.Duration) string {
	m.t.Helper()
	c, err := m.dial(network, addr, local, limit)
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	b := make([]byte, 1500)
	if network == "udp" {
		c.Write([]byte("?"))
	}
	k, err := c.Read(b)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b[:k])
}

// lookup asks the gateway for the address of some.test.
func (m *machine) lookup(network string) string {
	m.t.Helper()
	name := dnsmessage.MustNewName("some.test.")
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		m.t.Fatal(err)
	}
	c, err := m.dial(network, gateway("53"), nil, patience)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	if network == "tcp" {
		b = append([]byte{0, byte(len(b))}, b...)
	}
	c.Write(b)
	buf := make([]byte, 1500)
	k, err := c.Read(buf)
	if network == "tcp" && err == nil && k == 2 { // the length came alone
		_, err = c.Read(buf[2:])
		k = 2 + int(buf[1])
	}
	if err != nil {
		return err.Error()
	}
	if buf = buf[:k]; network == "tcp" {
		buf = buf[2:]
	}
	var a dnsmessage.Message
	if err := a.Unpack(buf); err != nil || len(a.Answers) != 1 {
		return fmt.Sprintf("%v, %d answers", err, len(a.Answers))
	}
	return netip.AddrFrom4(a.Answers[0].Body.(*dnsmessage.AResource).A).String()
}

func gateway(port string) string { return net.JoinHostPort(network.Gateway.String(), port) }

func openNetworks(t *testing.T, dir string, o network.Options) *network.Networks {
	t.Helper()
	n, _, err := network.Open(dir, host.Hash(dir), o, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil || n == nil {
		t.Fatalf("no networks: %v", err)
	}
	return n
}

func makeTap(t *testing.T, n *network.Networks, uid, gid int) *network.Network {
	t.Helper()
	w, err := n.MakeTap(uid, gid)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestMachinesReachTheInternetAndNothingOfTheHost(t *testing.T) {
	if !networktest.Alone(t, func() []string { return nil }) {
		return
	}
	internet := networktest.Lab(t)
	networktest.ServeEach(t, "127.0.0.1:5432", func(peer string) string { return "from " + peer })
	networktest.ServeNames(t, "127.0.0.53:53", "192.0.2.10")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.53\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	access, err := network.ParseHostAccess("5432")
	if err != nil {
		t.Fatal(err)
	}
	n := openNetworks(t, t.TempDir(), network.Options{Internet: true, Host: access, ResolvConf: []string{conf}})
	t.Cleanup(func() { n.Close() })
	nets := []*network.Network{makeTap(t, n, 4001, 4001), makeTap(t, n, 4002, 4002)}
	m, other := attach(t, nets[0], 4001, 4001, nets[0].MTU()), attach(t, nets[1], 4002, 4002, nets[1].MTU())

	networktest.In(t, netns.NsHandle(nets[1].Namespace().Fd()), func() { // as namespaces are where the host has it so
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range []struct{ name, network, addr, want string }{
		{"a server of the internet by TCP", "tcp", "198.51.100.7:80", "internet"},
		{"a neighbour of the host", "tcp", "203.0.113.1:80", "neighbour"},
		{"a server of the internet by UDP, which sees the host's address", "udp", "198.51.100.7:53", "from 203.0.113.2:"},
		{"a port of the host that is let through, which sees a program of the host", "tcp", gateway("5432"), "from 127.0.0.1"},
	} {
		t.Run("reach "+c.name, func(t *testing.T) {
			for _, m := range []*machine{m, other} {
				if got := m.ask(c.network, c.addr, nil, patience); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s answered %q, want %q", c.addr, got, c.want)
				}
			}
		})
	}
	t.Run("have names by the gateway", func(t *testing.T) {
		for _, proto := range []string{"udp", "tcp"} {
			if got := m.lookup(proto); got != "192.0.2.10" {
				t.Errorf("by %s some.test is %s", proto, got)
			}
		}
	})
	t.Run("move much at once", func(t *testing.T) { exchange(t, m, internet) })
	t.Run("see the gateway at the same address of Ethernet", func(t *testing.T) {
		a, b := m.gatewayMAC(), other.gatewayMAC()
		if a != b || a == "" {
			t.Errorf("%q and %q", a, b)
		}
	})
	t.Run("hear that a packet is too big", func(t *testing.T) {
		if err := m.eth.LinkSetMTU(m.device, 9000); err != nil { // a snapshot from a host with another MTU
			t.Fatal(err)
		}
		c, err := m.dial("udp", "198.51.100.7:53", nil, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for deadline := time.Now().Add(patience); !errors.Is(err, syscall.EMSGSIZE); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody said so")
			}
			_, err = c.Write(make([]byte, 4000))
		}
	})

	var l net.Listener
	networktest.In(t, other.ns, func() { l, err = net.Listen("tcp", ":7003") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	relay := n.Relay()
	m.address("203.0.113.77/32")
	m.address(nets[1].Outside().String() + "/32")
	networktest.In(t, m.ns, func() {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0); err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
	})
	m.address("fd00:113::9/64")
	for _, c := range []struct{ name, network, addr, from string }{
		{"the host's address", "tcp", "203.0.113.2:7001", ""},
		{"the host as gateway", "tcp", gateway("7001"), ""},
		{"the gateway by UDP", "udp", gateway("9"), ""},
		{"the relay's own address", "tcp", netip.AddrPortFrom(relay.Addr(), 7001).String(), ""},
		{"the machine's namespace", "tcp", "198.19.255.5:7001", ""},
		{"link-local metadata", "tcp", "169.254.169.254:80", ""},
		{"itself from outside", "tcp", nets[0].Outside().String() + ":7001", ""},
		{"another machine", "tcp", nets[1].Outside().String() + ":7003", "198.19.255.2"},
		{"the internet under an address of the host's network", "udp", "198.51.100.7:53", "203.0.113.77"},
		{"the internet under another machine's address", "udp", "198.51.100.7:53", nets[1].Outside().String()},
		{"the host by IPv6", "tcp", "[fd00:113::2]:7002", ""},
	} {
		t.Run("do not reach "+c.name, func(t *testing.T) {
			var local net.Addr
			if a := net.ParseIP(c.from); a != nil && c.network == "udp" {
				local = &net.UDPAddr{IP: a}
			} else if a != nil {
				local = &net.TCPAddr{IP: a}
			}
			if got := m.ask(c.network, c.addr, local, silence); !strings.HasPrefix(got, "error: ") {
				t.Errorf("%s answered %q", c.addr, got)
			}
		})
	}
	t.Run("are refused at once", func(t *testing.T) {
		if got := m.ask("tcp", "203.0.113.2:7001", nil, patience); !strings.Contains(got, "refused") {
			t.Errorf("the host: %s", got)
		}
	})
	t.Run("are not reached by the host", func(t *testing.T) {
		if c, err := net.DialTimeout("tcp", nets[1].Outside().String()+":7003", silence); err == nil {
			c.Close()
			t.Error("the host got through")
		}
	})
	t.Run("have no IPv6 on the way", func(t *testing.T) {
		networktest.In(t, netns.NsHandle(nets[0].Namespace().Fd()), func() {
			if b, err := os.ReadFile("/proc/thread-self/net/if_inet6"); err == nil && len(b) > 0 {
				t.Errorf("addresses: %s", b)
			}
		})
	})
}

// exchange sends a megabyte and gets it back: by segments larger than a frame, as machines do.
func exchange(t *testing.T, m *machine, internet netns.NsHandle) {
	var l net.Listener
	var err error
	networktest.In(t, internet, func() { l, err = net.Listen("tcp", "198.51.100.7:81") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		c.Write(b)
	}()
	c, err := m.dial("tcp", "198.51.100.7:81", nil, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
}

func (m *machine) gatewayMAC() string {
	list, err := m.eth.NeighList(m.device.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range list {
		if e.IP.Equal(network.Gateway.AsSlice()) {
			return e.HardwareAddr.String()
		}
	}
	return ""
}

// Only the monitor's user opens the tap: not another's, and not a group that is none of its.
func TestTapIsItsOwners(t *testing.T) {
	if !networktest.Alone(t, func() []string { return nil }) {
		return
	}
	networktest.Lab(t)
	n := openNetworks(t, t.TempDir(), network.Options{Internet: true})
	t.Cleanup(func() { n.Close() })
	w := makeTap(t, n, 4001, 4001)
	for _, c := range []struct {
		uid, gid int
		want     error
	}{{4002, 4001, unix.EPERM}, {4001, 4002, unix.EPERM}, {4001, 4001, nil}} {
		f, err := openTap(netns.NsHandle(w.Namespace().Fd()), network.Tap, c.uid, c.gid)
		if !errors.Is(err, c.want) || err == nil != (c.want == nil) {
			t.Errorf("user %d of group %d: %v, want %v", c.uid, c.gid, err, c.want)
		}
		if err == nil {
			f.Close()
		}
	}
}

// A closed network leaves nothing on the host, and nor does a server that was killed once the next one has begun.
func TestTapsAreLeftNowhere(t *testing.T) {
	if !networktest.Alone(t, func() []string { return nil }) {
		return
	}
	networktest.Lab(t)
	before := devices(t)
	dir := t.TempDir()
	killed := openNetworks(t, dir, network.Options{Internet: true})
	left := makeTap(t, killed, 4001, 4001)
	left.Namespace().Close() // as the kernel does, but for the devices of the host
	makeTap(t, killed, 4002, 4002)
	if got := devices(t); len(got) == len(before) {
		t.Fatalf("devices %v: nothing was left to sweep", got)
	}

	n := openNetworks(t, dir, network.Options{Internet: true})
	if got := devices(t); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("devices after the next server began: %v, want %v", got, before)
	}
	w := makeTap(t, n, 4001, 4001)
	m := attach(t, w, 4001, 4001, w.MTU())
	if got := m.ask("tcp", "198.51.100.7:80", nil, patience); got != "internet" {
		t.Errorf("the internet answered %q", got)
	}
	if err := errors.Join(w.Close(), n.Close()); err != nil {
		t.Error(err)
	}
	if got := devices(t); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("devices at the end: %v, want %v", got, before)
	}
}

func devices(t *testing.T) (names []string) {
	t.Helper()
	links, err := network.Undisturbed(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names
}
