package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Network is that of one sandbox or machine.
type Network struct {
	n      *Networks
	slot   int
	device string   // on the host
	mtu    int      // of all devices on its way to the host
	ns     *os.File // namespace
}

// Namespace is where the sandbox's device eth0 is. It stays the Network's.
func (w *Network) Namespace() *os.File { return w.ns }

// Device is the host's end of eth0.
func (w *Network) Device() string { return w.device }

// MTU is that of the sandbox's device.
func (w *Network) MTU() int { return w.mtu }

// Outside is the address that the sandbox has on the host.
func (w *Network) Outside() netip.Addr { return toAddr(w.n.base + uint32(w.slot)) }

// NewNamespace makes a network namespace without IPv6. It lives as long as the file or a process in it.
func NewNamespace() (*os.File, error) {
	ns := netns.None()
	enter := func() (err error) {
		ns, err = netns.New()
		return err
	}
	err := elsewhere(enter, func() (err error) {
		for _, dev := range []string{"all", "default"} {
			if e := writeSysctl("ipv6", dev, "disable_ipv6", "1"); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
		return err
	})
	if err != nil {
		if ns.IsOpen() {
			ns.Close()
		}
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return os.NewFile(uintptr(ns), "network namespace"), nil
}

// elsewhere does something on a thread that has entered a network namespace.
func elsewhere(enter, do func() error) error {
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer old.Close()
	if err = enter(); err == nil {
		err = do()
	}
	if back := netns.Set(old); back != nil {
		// The thread stays locked and dies with its goroutine: nobody may run on it in the wrong namespace.
		return fmt.Errorf("back to the host's network namespace: %w", errors.Join(back, err))
	}
	runtime.UnlockOSThread()
	return err
}

// writeSysctl sets /proc/sys/net/FAMILY/conf/DEVICE/KEY of the calling thread's namespace.
func writeSysctl(family, device, key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys/net", family, "conf", device, key), []byte(value), 0)
}

// makeLink joins namespace and host, and furnishes the namespace.
func (w *Network) makeLink(furnish func(inside *netlink.Handle, eth netlink.Link) error) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = w.device, gatewayMAC, w.mtu
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerNamespace, veth.PeerMTU = "eth0", insideMAC, netlink.NsFd(w.ns.Fd()), uint32(attrs.MTU)
	if err := w.n.host.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	in, err := netlink.NewHandleAt(netns.NsHandle(w.ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink inside: %w", err)
	}
	defer in.Close()
	eth, err := in.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0 inside: %w", err)
	}
	if err := furnish(in, eth); err != nil {
		return fmt.Errorf("network inside: %w", err)
	}
	return nil
}

// furnish gives the namespace what gVisor reads there and has in its own network stack.
func (w *Network) furnish(in *netlink.Handle, eth netlink.Link) error {
	lo, err := in.LinkByName("lo")
	if err != nil {
		return err
	}
	return inOrder(
		func() error { return in.LinkSetUp(lo) },
		func() error { return in.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(Platform, 32))}) },
		func() error { return in.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(Inside)}) },
		func() error { return in.LinkSetUp(eth) },
		func() error {
			return in.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: Gateway.AsSlice()})
		},
		func() error { return in.NeighAdd(neighbour(eth, Gateway, gatewayMAC)) },
	)
}

// inOrder ends with the first error.
func inOrder(steps ...func() error) error {
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

func neighbour(l netlink.Link, a netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac}
}

// route leads the sandbox's outside address to its device.
func (w *Network) route(outside netip.Addr) error {
	host := w.n.host
	l, err := host.LinkByName(w.device)
	if err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	if err := writeSysctl("ipv6", w.device, "disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("veth without IPv6: %w", err)
	}
	if err := writeSysctl("ipv4", w.device, "forwarding", "1"); err != nil {
		return fmt.Errorf("forwarding of %s: %w", w.device, err)
	}
	if reachesLoopback(w.n.paths.access) {
		// What comes by this device may be for the loopback. The rules let through what access names, and nothing else.
		if err := writeSysctl("ipv4", w.device, "route_localnet", "1"); err != nil {
			return fmt.Errorf("way of %s to the loopback: %w", w.device, err)
		}
	}
	if err := host.LinkSetUp(l); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	dst := ipNet(netip.PrefixFrom(outside, 32))
	if err := host.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
		return fmt.Errorf("route to sandbox: %w", err)
	}
	// By the time that the host looks for the neighbour, the last rule has put the inside address into the packet.
	if err := host.NeighAdd(neighbour(l, Inside.Addr(), insideMAC)); err != nil {
		return fmt.Errorf("neighbour: %w", err)
	}
	return nil
}

// Close removes the network. The device inside goes with the one outside.
func (w *Network) Close() error {
	var errs []error
	if w.n.nft != nil {
		errs = append(errs, w.n.nft.remove(w.device))
	}
	if l, err := w.n.host.LinkByName(w.device); err == nil {
		if err := w.n.host.LinkDel(l); err != nil && !errors.Is(err, syscall.ENODEV) {
			errs = append(errs, fmt.Errorf("veth %s: %w", w.device, err))
		}
	}
	if w.ns != nil {
		w.ns.Close()
	}
	w.n.mu.Lock()
	delete(w.n.used, w.slot)
	w.n.mu.Unlock()
	return errors.Join(errs...)
}
