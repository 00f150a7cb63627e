// Package nearby knows the addresses behind which somebody trusts what this host sends: itself, and what a network has
// for its hosts alone. Whoever lets others say where a request goes asks it when the connection is made.
package nearby

import (
	"net"
	"net/netip"
	"slices"
)

// clouds are addresses of services that tell a machine its credentials, beside 169.254.169.254: AWS's and Google's over
// IPv6, Alibaba's, Azure's, Oracle's. Nothing but the address tells them from others.
var clouds = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192")}

// nat64 are IPv6 addresses that a network translates into the IPv4 address at their end. Source: RFC 6052, 2.1.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Plain is an address without the forms that IPv6 has for those of IPv4.
func Plain(a netip.Addr) netip.Addr {
	if a = a.Unmap(); nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.WithZone("")
}

// Link says whether an address is of this host's link, of a group, none, or of a cloud's service for its machines.
func Link(a netip.Addr) bool {
	a = Plain(a)
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || slices.Contains(clouds, a)
}

// Own says whether an address is one of this host's: behind it may be what listens on all addresses.
func Own(a netip.Addr) bool {
	if a = Plain(a); a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true // it cannot be known
	}
	for _, l := range list {
		if n, ok := l.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == a {
				return true
			}
		}
	}
	return false
}
