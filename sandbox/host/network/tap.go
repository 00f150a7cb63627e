package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// # How a machine reaches the internet
//
//	in the machine          its namespace                           the host
//	198.19.255.2/30  ---->  tap0 -- routes --> eth0 === veth ====>  as for every sandbox
//
// A monitor reads the machine's Ethernet frames and hands them to tap0. The namespace routes: it changes no address and
// remembers no connection, so the host sees the same packets as from gVisor's sandboxes and judges them by the same
// rules (ruleset.go). The function sees the same addresses as there, too.
//
// The machine asks for the gateway's address (ARP), and the namespace answers in the gateway's place, with an address of
// Ethernet that is the same in all of them: what a copy of a machine remembers is right. The namespace asks for the
// machine's, which may have any.
const Tap = "tap0"

// router is the namespace's own address: what it has to say of a packet (too big, too many hops) comes from there. It
// leads nowhere: the host takes nothing from it.
var router = netip.MustParseAddr("198.19.255.5")

// MachineMAC is for the machine's end of Tap, where a monitor wants to be told.
var MachineMAC = insideMAC

// MakeTap makes the network of a machine, whose monitor runs as that user and group: it may open Tap, and needs no
// capability for that. A persistent tap, it goes when its namespace does.
func (n *Networks) MakeTap(uid, gid int) (*Network, error) {
	return n.make(func(w *Network, in *netlink.Handle, eth netlink.Link) error {
		return w.furnishTap(in, eth, uid, gid)
	})
}

func (w *Network) furnishTap(in *netlink.Handle, eth netlink.Link, uid, gid int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Tap
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Owner: uint32(uid), Group: uint32(gid),
		Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_TUN_EXCL}
	// A tap belongs to the namespace of the thread that opens /dev/net/tun.
	enter := func() error { return netns.Set(netns.NsHandle(w.ns.Fd())) }
	err := elsewhere(enter, func() error {
		if err := in.LinkAdd(tap); err != nil {
			return fmt.Errorf("tap: %w", err)
		}
		return errors.Join(
			writeSysctl("ipv4", Tap, "forwarding", "1"), writeSysctl("ipv4", eth.Attrs().Name, "forwarding", "1"),
			writeSysctl("ipv4", Tap, "proxy_arp", "1"), os.WriteFile("/proc/sys/net/ipv4/neigh/"+Tap+"/proxy_delay", []byte("0"), 0),
		)
	})
	if err != nil {
		return err
	}
	link, err := in.LinkByName(Tap)
	if err != nil {
		return err
	}
	machine := ipNet(netip.PrefixFrom(Inside.Addr(), 32))
	return inOrder(
		func() error { return in.LinkSetHardwareAddr(link, gatewayMAC) },
		func() error { return in.LinkSetMTU(link, w.mtu) },
		func() error { return in.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(router, 32))}) },
		func() error { return in.LinkSetUp(eth) },
		func() error { return in.LinkSetUp(link) },
		func() error { return in.NeighAdd(neighbour(eth, Gateway, gatewayMAC)) },
		func() error {
			return in.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: Gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
		},
		func() error {
			return in.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: machine, Scope: netlink.SCOPE_LINK})
		},
	)
}
