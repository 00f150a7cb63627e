package gvisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"thaw/sandbox"
	"thaw/sandbox/host"
	"thaw/sandbox/host/network"
	"thaw/sandbox/host/network/networktest"
)

// servePeers tells every connection where it comes from.
func servePeers(t *testing.T, addr string) {
	t.Helper()
	networktest.ServeEach(t, addr, func(peer string) string { return "from " + peer })
}

// atOnce is how long a refusal may take. What is dropped takes the test's guest a second.
const atOnce = 700 * time.Millisecond

// refused wants a dial to fail, and soon: after the first answer of the machine's many others.
func refused(t *testing.T, g *guestOf, network, addr string) {
	t.Helper()
	var took time.Duration
	for range 3 { // the machine may be busy
		began := time.Now()
		got := g.do("dial %s %s", network, addr)
		took = time.Since(began)
		if !strings.HasPrefix(got, "error: ") {
			t.Fatalf("%s %s answered %q", network, addr, got)
		}
		if strings.Contains(got, "refused") && took < atOnce {
			return
		}
		if !strings.Contains(got, "refused") {
			t.Errorf("%s %s: %s after %v", network, addr, got, took)
			return
		}
	}
	t.Errorf("%s %s was refused after %v", network, addr, took)
}

func TestFunctionsReachTheHostWhenTold(t *testing.T) {
	if !inLab(t) {
		return
	}
	servePeers(t, "127.0.0.1:5432")
	servePeers(t, "127.0.0.5:5500")
	servePeers(t, "203.0.113.2:8080")
	networktest.ServeUDP(t, "127.0.0.1:8125", "statsd")
	access, err := network.ParseHostAccess("5432, 8125, 6000-6010, 127.0.0.5:5500, 203.0.113.2:8080")
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, func(o *Options) {
		online(o)
		o.Network.Host = access
	})
	g, other := create(t, b, sandbox.Spec{ID: "a"}), create(t, b, sandbox.Spec{ID: "b"})
	other.must("listen 0.0.0.0:7003")
	outside := other.Sandbox.(*Sandbox).net.Outside().String()
	for _, c := range []struct{ name, network, addr, want string }{
		{"a database on the loopback, which sees a program of the host", "tcp", network.HostName + ":5432", "from 127.0.0.1"},
		{"by the gateway's address", "tcp", network.Gateway.String() + ":5432", "from 127.0.0.1"},
		{"another address of the loopback", "tcp", network.HostName + ":5500", "from 127.0.0.1"},
		{"an address of the host under its name", "tcp", network.HostName + ":8080", "from 198.1"},
		{"an address of the host under itself", "tcp", "203.0.113.2:8080", "from 198.1"},
		{"a server of UDP", "udp", network.HostName + ":8125", "statsd 127.0.0.1:"},
		{"the internet, as before", "tcp", "198.51.100.7:80", "internet"},
	} {
		t.Run("reaches "+c.name, func(t *testing.T) {
			for _, g := range []*guestOf{g, other} {
				if got := g.do("dial %s %s", c.network, c.addr); !strings.HasPrefix(got, c.want) {
					t.Errorf("%s answered %q, want %q", c.addr, got, c.want)
				}
			}
		})
	}
	for _, c := range []struct{ name, network, addr string }{
		{"a port of the list where nobody listens", "tcp", network.HostName + ":6005"},
		{"a port of the loopback that is not in the list", "tcp", network.HostName + ":7000"},
		{"a port of all addresses that is not in the list", "tcp", network.HostName + ":7001"},
		{"the same by the host's address", "tcp", "203.0.113.2:7001"},
		{"a port of the list at an address that is not", "tcp", "203.0.113.2:5432"},
		{"another sandbox", "tcp", outside + ":7003"},
		{"metadata", "tcp", "169.254.169.254:80"},
		{"a port by UDP that is not in the list", "udp", network.HostName + ":9"},
		{"a port by UDP of the list where nobody listens", "udp", network.HostName + ":6005"},
		{"names", "udp", network.HostName + ":53"},
	} {
		t.Run("is refused at once "+c.name, func(t *testing.T) { refused(t, g, c.network, c.addr) })
	}
	t.Run("leads to the loopback by the sandbox's own device only", func(t *testing.T) {
		for dev, want := range map[string]string{g.Sandbox.(*Sandbox).net.Device(): "1", "up0": "0", "all": "0", "default": "0"} {
			text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + dev + "/route_localnet")
			if err != nil || strings.TrimSpace(string(text)) != want {
				t.Errorf("route_localnet of %s is %s, %v; want %s", dev, text, err, want)
			}
		}
	})
}

func TestNothingOfTheHostIsReachedUntold(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := open(t, online)
	g := create(t, b, sandbox.Spec{ID: "a"})
	if got := g.must("lookup %s", network.HostName); got != "["+network.Gateway.String()+"]" {
		t.Errorf("%s is %s", network.HostName, got)
	}
	for _, addr := range []string{network.HostName + ":7000", network.HostName + ":7001", "203.0.113.2:7001"} {
		refused(t, g, "tcp", addr)
		refused(t, g, "udp", addr)
	}
}

// nameservers makes a network option of a file that stands for the host's resolv.conf.
func nameservers(t *testing.T, servers ...string) (use func(*Options), change func(servers ...string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	use = func(o *Options) { o.Network = network.Options{Internet: true, ResolvConf: []string{path}} }
	change = func(servers ...string) {
		text := "search lan\n"
		for _, s := range servers {
			text += "nameserver " + s + "\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change(servers...)
	return use, change
}

func TestNamesResolveOnEveryHost(t *testing.T) {
	if !inLab(t) {
		return
	}
	for i, server := range []string{"127.0.0.1", "127.0.0.53", "127.0.0.11", "::1", "203.0.113.2"} {
		networktest.ServeNames(t, net.JoinHostPort(server, "53"), fmt.Sprintf("192.0.2.%d", 10*i))
	}
	for _, c := range []struct {
		name    string
		servers []string
		want    string
	}{
		{"dnsmasq or unbound on the loopback", []string{"127.0.0.1"}, "[192.0.2.0]"},
		{"systemd-resolved without its own list", []string{"127.0.0.53"}, "[192.0.2.10]"},
		{"a container", []string{"127.0.0.11"}, "[192.0.2.20]"},
		{"a server with an IPv6 address", []string{"::1"}, "[192.0.2.30]"},
		{"a server at the host's own address", []string{"203.0.113.2"}, "[192.0.2.40]"},
		{"no server at all", nil, "[192.0.2.0]"},
		{"a dead server before one that lives", []string{"127.0.0.99", "127.0.0.11"}, "[192.0.2.20]"},
		{"the host's before one of the internet", []string{"127.0.0.53", "198.51.100.7"}, "[192.0.2.10]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			use, _ := nameservers(t, c.servers...)
			b := open(t, use)
			g := create(t, b, sandbox.Spec{ID: "a"})
			if got := g.do("lookup some.test"); got != c.want {
				t.Errorf("some.test is %s, want %s", got, c.want)
			}
			if got := g.do("lookup big.test"); strings.Count(got, " ") != 99 {
				t.Errorf("big.test, which comes by TCP only, is %s", got)
			}
			refused(t, g, "tcp", network.Gateway.String()+":7001")
			relay := b.nets.Relay()
			if got := g.do("dial tcp %s", relay); !strings.Contains(got, "refused") && !strings.HasPrefix(got, "error: ") {
				t.Logf("the relay's own address answered %q", got)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				t.Fatal(err)
			}
			addrs, err := netlink.AddrList(lo, netlink.FAMILY_V4)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				if strings.HasPrefix(a.Label, "lo:tw") {
					t.Errorf("%v is still there", a)
				}
			}
		})
	}
	t.Run("servers that change are followed, dead ones are told at once", func(t *testing.T) {
		use, change := nameservers(t, "127.0.0.99")
		b := open(t, use)
		g := create(t, b, sandbox.Spec{ID: "a"})
		began := time.Now()
		if got := g.do("lookup some.test"); !strings.HasPrefix(got, "error: ") || time.Since(began) > 4*time.Second {
			t.Errorf("some.test is %s after %v", got, time.Since(began))
		}
		change("127.0.0.11")
		for deadline := time.Now().Add(time.Minute); ; {
			got := g.do("lookup some.test")
			if got == "[192.0.2.20]" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("some.test is still %s", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Run("a server of another host is asked directly", func(t *testing.T) {
		use, _ := nameservers(t, "198.51.100.7", "127.0.0.1")
		b := open(t, use)
		if b.nets.Relay().IsValid() {
			t.Error("there is a relay")
		}
	})
}

// What a killed server left of the relay's address is removed by the next one.
func TestAddressOfTheRelayIsSwept(t *testing.T) {
	if !inLab(t) {
		return
	}
	use, _ := nameservers(t, "127.0.0.1")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "gvisor")
	left := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(198, 18, 0, 0), Mask: net.CIDRMask(32, 32)}, Label: "lo:tw" + host.Hash(dir)}
	if err := netlink.AddrAdd(lo, left); err != nil {
		t.Fatal(err)
	}
	b := open(t, func(o *Options) {
		use(o)
		o.Dir = dir
	})
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, a := range addrs {
		if strings.HasPrefix(a.Label, "lo:tw") {
			ours = append(ours, a.IP.String())
		}
	}
	if want := b.nets.Relay().Addr().String(); len(ours) != 1 || ours[0] != want {
		t.Errorf("addresses %v, want only %s", ours, want)
	}
	t.Run("which nobody but sandboxes reaches", func(t *testing.T) {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, b.nets.Relay().String())
		}}
		networktest.ServeNames(t, "127.0.0.1:53", "192.0.2.1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := r.LookupHost(ctx, "some.test"); err == nil {
			t.Errorf("the host got %v", got)
		}
	})
}
