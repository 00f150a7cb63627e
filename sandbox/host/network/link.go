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

// Network is that of one sandbox.
type Network struct {
	n      *Networks
	slot   int
	device string   // on the host
	ns     *os.File // namespace
}

// Namespace is where the sandbox's device eth0 is. It stays the Network's.
func (w *Network) Namespace() *os.File { return w.ns }

// Device is the host's end of eth0.
func (w *Network) Device() string { return w.device }

// Outside is the address that the sandbox has on the host.
func (w *Network) Outside() netip.Addr { return toAddr(w.n.base + uint32(w.slot)) }

// NewNamespace makes a network namespace without IPv6. It lives as long as the file or a process in it.
func NewNamespace() (*os.File, error) {
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	defer old.Close()
	ns, err := netns.New() // enters it
	if err == nil {
		for _, dev := range []string{"all", "default"} {
			if e := writeSysctl("ipv6", dev, "disable_ipv6", "1"); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	if back := netns.Set(old); back != nil {
		// The thread stays locked and dies with its goroutine: nobody may run on it in the wrong namespace.
		return nil, fmt.Errorf("back to the host's network namespace: %w", errors.Join(back, err))
	}
	runtime.UnlockOSThread()
	if err != nil {
		if ns.IsOpen() {
			ns.Close()
		}
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return os.NewFile(uintptr(ns), "network namespace"), nil
}

// writeSysctl sets /proc/sys/net/FAMILY/conf/DEVICE/KEY of the calling thread's namespace.
func writeSysctl(family, device, key, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys/net", family, "conf", device, key), []byte(value), 0)
}

// makeLink joins namespace and host.
func (w *Network) makeLink() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = w.device, gatewayMAC, w.n.mtu()
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
	lo, err := in.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback inside: %w", err)
	}
	eth, err := in.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0 inside: %w", err)
	}
	platform := net.IPNet{IP: Platform.AsSlice(), Mask: net.CIDRMask(32, 32)}
	ip := net.IPNet{IP: Inside.Addr().AsSlice(), Mask: net.CIDRMask(Inside.Bits(), 32)}
	for _, do := range []func() error{
		func() error { return in.LinkSetUp(lo) },
		func() error { return in.AddrAdd(lo, &netlink.Addr{IPNet: &platform}) },
		func() error { return in.AddrAdd(eth, &netlink.Addr{IPNet: &ip}) },
		func() error { return in.LinkSetUp(eth) },
		func() error {
			return in.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: Gateway.AsSlice()})
		},
		func() error { return in.NeighAdd(neighbour(eth, Gateway, gatewayMAC)) },
	} {
		if err := do(); err != nil {
			return fmt.Errorf("network inside: %w", err)
		}
	}
	return nil
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
	dst := net.IPNet{IP: outside.AsSlice(), Mask: net.CIDRMask(32, 32)}
	if err := host.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: &dst, Scope: netlink.SCOPE_LINK}); err != nil {
		return fmt.Errorf("route to sandbox: %w", err)
	}
	if err := host.NeighAdd(neighbour(l, outside, insideMAC)); err != nil {
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
