package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// HostName is the name by which functions reach the host, as far as HostAccess lets them. It leads to the gateway's
// address in every sandbox, also where nothing is let through.
const HostName = "host.thaw.internal"

// HostPort is a range of ports of one of the host's IPv4 addresses that sandboxes reach, by TCP and UDP: under
// HostName, and an address that is not the loopback's under itself, too. Connections to the loopback's come from
// 127.0.0.1, as a program of the host would make them: databases trust that address or refuse others.
type HostPort struct {
	Addr        netip.Addr
	First, Last uint16
}

// ParseHostAccess reads [ADDRESS:]PORT[-PORT], separated by commas. Without an address it is 127.0.0.1.
func ParseHostAccess(text string) ([]HostPort, error) {
	var list []HostPort
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		p := HostPort{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		ports := entry
		if i := strings.LastIndexByte(entry, ':'); i >= 0 {
			var err error
			if p.Addr, err = netip.ParseAddr(entry[:i]); err != nil || !p.Addr.Is4() || p.Addr.IsUnspecified() || p.Addr.IsMulticast() {
				return nil, fmt.Errorf("%q: %q is no IPv4 address of a host", entry, entry[:i])
			}
			ports = entry[i+1:]
		}
		first, last, isRange := strings.Cut(ports, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || a == 0 || a > b {
			return nil, fmt.Errorf("%q: %q is no port, nor a range such as 8000-8010", entry, ports)
		}
		p.First, p.Last = uint16(a), uint16(b)
		for _, o := range list {
			if o.First <= p.Last && p.First <= o.Last && o.Addr != p.Addr {
				return nil, fmt.Errorf("%q: a port of %s cannot lead to two addresses; the other is %s", entry, HostName, o.Addr)
			}
		}
		list = append(list, p)
	}
	return list, nil
}

// reachesLoopback says whether packets to the host's loopback have to be let through.
func reachesLoopback(list []HostPort) bool {
	for _, p := range list {
		if p.Addr.IsLoopback() {
			return true
		}
	}
	return false
}
