package nearby

import (
	"net"
	"net/netip"
	"testing"
)

// What trusts this host is known in every form of its address.
func TestAddresses(t *testing.T) {
	for text, want := range map[string]struct{ link, own bool }{
		"127.0.0.1": {false, true}, "::1": {false, true}, "::ffff:127.8.8.8": {false, true}, "64:ff9b::7f00:1": {false, true},
		"169.254.169.254": {true, false}, "::ffff:169.254.169.254": {true, false}, "64:ff9b::a9fe:a9fe": {true, false}, "fe80::1%lo": {true, false},
		"fd00:ec2::254": {true, false}, "fd20:ce::254": {true, false}, "100.100.100.200": {true, false}, "168.63.129.16": {true, false}, "192.0.0.192": {true, false},
		"0.0.0.0": {true, false}, "::": {true, false}, "224.0.0.1": {true, false}, "ff02::1": {true, false},
		"192.0.2.1": {false, false}, "2001:db8::1": {false, false}, "64:ff9b::c000:201": {false, false}, "fd00:ec2::253": {false, false},
	} {
		if a := netip.MustParseAddr(text); Link(a) != want.link || Own(a) != want.own {
			t.Errorf("%s: link %v, own %v; want %+v", text, Link(a), Own(a), want)
		}
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if a, ok := netip.AddrFromSlice(l.(*net.IPNet).IP); !ok || !Own(a) {
			t.Errorf("%s is this host's", l)
		}
	}
}
