package gvisor

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
)

// resolvers are the files that name the host's name servers, the more direct ones first: a local cache listens on a loopback that
// is not the sandbox's, so where systemd-resolved runs, its own upstream list is read.
var resolvers = []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"}

// hostNameservers are the name servers of the host that a sandbox can reach: IPv4, not on the loopback.
func hostNameservers() []netip.Addr {
	for _, path := range resolvers {
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
	return nil
}

func parseResolvConf(sc *bufio.Scanner) []netip.Addr {
	var list []netip.Addr
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err == nil && a.Unmap().Is4() && !a.Unmap().IsLoopback() {
			list = append(list, a.Unmap())
		}
	}
	return list
}
