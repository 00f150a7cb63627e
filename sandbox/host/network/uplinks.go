package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// uplinks are the devices that default routes leave by.
func (n *Networks) uplinks() ([]netlink.Link, error) {
	routes, err := Undisturbed(func() ([]netlink.Route, error) { return n.host.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	var links []netlink.Link
	seen := make(map[int]bool)
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		hops := []int{r.LinkIndex}
		for _, h := range r.MultiPath {
			hops = append(hops, h.LinkIndex)
		}
		for _, i := range hops {
			if i == 0 || seen[i] {
				continue
			}
			seen[i] = true
			l, err := n.host.LinkByIndex(i)
			if err != nil {
				return nil, fmt.Errorf("uplink: %w", err)
			}
			links = append(links, l)
		}
	}
	return links, nil
}

// mtu is the smallest of the uplinks', so that nothing has to be cut on the way out.
func (n *Networks) mtu() int {
	mtu := 1500
	links, _ := n.uplinks()
	for _, l := range links {
		if m := l.Attrs().MTU; m > 0 && m < mtu {
			mtu = m
		}
	}
	return mtu
}

// forwardUplinks switches forwarding on for the uplinks only, not for the host: a packet is forwarded when the device
// it came in by allows it, and answers come in by the uplinks. What such a device would forward beside our answers is
// dropped (ruleset.guard): the host becomes nobody's router.
func (n *Networks) forwardUplinks() error {
	links, err := n.uplinks()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		name := l.Attrs().Name
		b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", name, "forwarding"))
		if err != nil {
			return fmt.Errorf("forwarding of %s: %w", name, err)
		}
		if strings.TrimSpace(string(b)) == "1" {
			continue
		}
		if err := n.nft.guard(name); err != nil {
			return err
		}
		// First the note, then the deed: the next server must know, whatever happens to this one.
		if err := os.WriteFile(n.state, []byte(strings.Join(append(n.forwarded, name), "\n")), 0o600); err != nil {
			return fmt.Errorf("network state: %w", err)
		}
		n.forwarded = append(n.forwarded, name)
		if err := writeSysctl("ipv4", name, "forwarding", "1"); err != nil {
			return fmt.Errorf("forwarding of %s: %w", name, err)
		}
	}
	return nil
}
