package network

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// resolvers are the files that name the host's name servers, the more direct ones first: a local cache listens on a loopback that
// is not the sandbox's, so where systemd-resolved runs, its own upstream list is read.
var resolvers = []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"}

// hostNameservers are those that the first of the files names which names any, in its order.
func hostNameservers(files []string) []netip.Addr {
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		list := parseResolvConf(bufio.NewScanner(f))
		f.Close()
		if len(list) > 0 {
			return list
		}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} // as resolv.conf(5) has it for a file without any
}

func parseResolvConf(sc *bufio.Scanner) []netip.Addr {
	var list []netip.Addr
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			list = append(list, a.Unmap())
		}
	}
	return list
}

// direct are those of the host's name servers that sandboxes reach by themselves: IPv4, on another host. relayed says
// that the first of all is none of them, so that names have to come by way of the relay to be the host's.
func direct(servers []netip.Addr, own func(netip.Addr) bool) (list []netip.Addr, relayed bool) {
	for i, a := range servers {
		if a.Is4() && !a.IsLoopback() && !own(a) {
			list = append(list, a)
		} else if i == 0 {
			relayed = true
		}
	}
	return list, relayed
}

// ownAddress says whether the host has an address.
func ownAddress(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().Unmap() == a
	})
}

// followNameservers gives the host's name servers at any time: a host that moves to another network gets others.
func followNameservers(files []string) func() []netip.AddrPort {
	const fresh = 2 * time.Second
	var mu sync.Mutex
	var list []netip.AddrPort
	var read time.Time
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		if list == nil || time.Since(read) > fresh {
			list, read = nil, time.Now()
			for _, a := range hostNameservers(files) {
				list = append(list, netip.AddrPortFrom(a, 53))
			}
		}
		return list
	}
}
