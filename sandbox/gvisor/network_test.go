package gvisor

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"thaw/sandbox"
	"thaw/sandbox/host/network"
	"thaw/sandbox/host/network/networktest"
)

// alone runs the calling test again in a process with its own network namespace; see networktest.Alone.
func alone(t *testing.T) bool {
	t.Helper()
	return networktest.Alone(t, func() []string { return ownPrograms(t) })
}

// inLab runs the calling test like alone, in a lab.
func inLab(t *testing.T) bool {
	t.Helper()
	if !alone(t) {
		return false
	}
	networktest.Lab(t)
	return true
}

// online gives sandboxes the lab's internet.
func online(o *Options) {
	o.Network = network.Options{Internet: true, DNS: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}
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
		links, err := network.Undisturbed(netlink.LinkList)
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
