// Package network gives every sandbox a namespace with a way to the internet, and to what the operator names of the host.
package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// # How a sandbox reaches the internet
//
//	in the sandbox          its namespace        the host
//	198.19.255.2/30  ---->  eth0 === veth ====>  tw HASH SLOT --> rewrite source to 198.18.0.0/15 + slot --> filter --> masquerade --> uplink
//
// Inside, every sandbox has the same address, so that a snapshot of one fits any other. Outside each has its own: the first rule a packet
// meets rewrites it, and the last rule of an answer writes it back, without state. gVisor speaks raw Ethernet on eth0; the namespace's own
// network stack has no address and sees nothing. Neither side asks for addresses (ARP): both know each other's, for they are the same everywhere, too.
//
// The gateway's address is the host, as far as anything of it can be reached (hostaccess.go): name servers
// (dnsrelay.go) and ports that the operator named.
//
// All addresses are of 198.18.0.0/15, which RFC 2544 sets apart for measuring network gear: no host of the internet has them, and private networks rarely do.
var (
	Inside      = netip.MustParsePrefix("198.19.255.2/30")
	Gateway     = netip.MustParseAddr("198.19.255.1")
	insideMAC   = net.HardwareAddr{0x02, 0x74, 0x68, 0x61, 0x77, 0x02}
	gatewayMAC  = net.HardwareAddr{0x02, 0x74, 0x68, 0x61, 0x77, 0x01}
	outsideBase = netip.MustParseAddr("198.18.0.0")
)

// Each backend of a host has a block of 2^blockBits outside addresses; the last block of the /15 is the inside's.
const (
	blockBits = 12
	blocks    = 1 << (17 - blockBits)
)

// Networks makes the network of each sandbox. One mutex for all: the kernel's own lock for devices is one, too.
type Networks struct {
	hash  string
	state string // file that tells the next server which settings to put back
	host  *netlink.Handle
	nft   *ruleset
	base  uint32 // first outside address, that of the host's side: no sandbox has it
	paths hostPaths
	relay *dnsRelay // nil: sandboxes ask name servers themselves

	mu        sync.Mutex // guards what follows
	used      map[int]bool
	forwarded []string // devices whose forwarding we switched on
}

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

// Relay is where the host answers names; the zero value: sandboxes ask name servers themselves.
func (n *Networks) Relay() netip.AddrPort {
	if n.relay == nil {
		return netip.AddrPort{}
	}
	return n.relay.addr()
}

// Options say what sandboxes reach.
type Options struct {
	Internet bool         // false: nothing but their own loopback
	DNS      []netip.Addr // name servers; empty: those of the host, by way of a relay where they listen for the host alone
	Host     []HostPort   // what is reached of the host; empty: nothing

	ResolvConf []string // files that name the host's name servers; empty: where hosts have them
}

func (o Options) resolvConf() []string {
	if len(o.ResolvConf) > 0 {
		return o.ResolvConf
	}
	return resolvers
}

// nameServers are whom sandboxes ask. relayed: the first is the gateway, where a relay answers.
func (o Options) nameServers() (list []netip.Addr, relayed bool) {
	if !o.Internet || len(o.DNS) > 0 {
		return o.DNS, false
	}
	if list, relayed = direct(hostNameservers(o.resolvConf()), ownAddress); relayed {
		list = append([]netip.Addr{Gateway}, list...)
	}
	return list, relayed
}

// Open sweeps what an earlier server of the folder left and, when it is wanted, sets the network up; nil: it is not, or
// this host cannot, as the error says. dns are whom sandboxes ask for names, in any case.
func Open(dir, hash string, o Options, log *slog.Logger) (n *Networks, dns []netip.Addr, err error) {
	dns, relayed := o.nameServers()
	if n, err = newNetworks(dir, hash); err != nil {
		return nil, dns, err
	}
	if err = n.sweep(); err == nil && o.Internet {
		if err = n.open(o, relayed, log); err == nil {
			return n, dns, nil
		}
	}
	return nil, dns, errors.Join(err, n.Close())
}

// newNetworks only takes hold of the host's network: sweep cleans it, open sets it up, close does the first and lets go.
func newNetworks(dir, hash string) (*Networks, error) {
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Networks{hash: hash, state: filepath.Join(dir, "network"), host: host, used: make(map[int]bool)}, nil
}

// open sets the network up. relayed says that sandboxes ask the relay for names.
func (n *Networks) open(o Options, relayed bool, log *slog.Logger) (err error) {
	if n.base, err = n.chooseBlock(); err != nil {
		return err
	}
	n.paths.access = o.Host
	if relayed {
		if err := n.openRelay(o.resolvConf(), log); err != nil {
			return err
		}
	}
	if n.nft, err = openRuleset(n.hash, n.prefix(), toAddr(n.base), 32-blockBits, n.paths); err != nil {
		return err
	}
	return n.forwardUplinks()
}

// openRelay gives the host the block's first address, on its loopback, and listens there.
func (n *Networks) openRelay(resolvConf []string, log *slog.Logger) error {
	lo, err := n.host.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("address of the relay of names: %w", err)
	}
	addr := toAddr(n.base)
	ip := net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
	// Of the scope host, as all of the loopback: it is no source for what leaves the host.
	if err := n.host.AddrReplace(lo, &netlink.Addr{IPNet: &ip, Label: n.label(), Scope: int(netlink.SCOPE_HOST)}); err != nil {
		return fmt.Errorf("address of the relay of names: %w", err)
	}
	if n.relay, err = openDNSRelay(addr, followNameservers(resolvConf), log); err != nil {
		return err
	}
	n.paths.relay = n.relay.addr()
	return nil
}

// label marks our address among those of the loopback device. A label begins with the device's name and has at most 15 bytes.
func (n *Networks) label() string { return "lo:" + n.prefix() }

// sweepAddresses removes our address.
func (n *Networks) sweepAddresses() error {
	lo, err := n.host.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	addrs, err := undisturbed(func() ([]netlink.Addr, error) { return n.host.AddrList(lo, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("addresses of the loopback: %w", err)
	}
	for _, a := range addrs {
		if a.Label != n.label() {
			continue
		}
		if err := n.host.AddrDel(lo, &a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return fmt.Errorf("address of the relay of names: %w", err)
		}
	}
	return nil
}

// prefix begins the name of every device of this backend. A name has at most 15 bytes.
func (n *Networks) prefix() string { return "tw" + n.hash }

func toAddr(v uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	return netip.AddrFrom4(b)
}

// chooseBlock finds a block of addresses that no route of the host leads to.
func (n *Networks) chooseBlock() (uint32, error) {
	routes, err := undisturbed(func() ([]netlink.Route, error) { return n.host.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return 0, fmt.Errorf("routes: %w", err)
	}
	b4 := outsideBase.As4()
	first := binary.BigEndian.Uint32(b4[:])
	var h uint32
	fmt.Sscanf(n.hash, "%x", &h)
	for i := range uint32(blocks - 1) {
		base := first + (h+i)%(blocks-1)<<blockBits
		block := netip.PrefixFrom(toAddr(base), 32-blockBits)
		free := true
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			ones, _ := r.Dst.Mask.Size()
			a, ok := netip.AddrFromSlice(r.Dst.IP.To4())
			if ok && ones > 0 && netip.PrefixFrom(a, ones).Overlaps(block) {
				free = false
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("every block of %v/15 is in use on this host", outsideBase)
}

// Make makes the network of one sandbox.
func (n *Networks) Make() (_ *Network, err error) {
	if err := n.forwardUplinks(); err != nil { // they may have changed
		return nil, err
	}
	n.mu.Lock()
	slot := 1
	for n.used[slot] {
		slot++
	}
	if slot >= 1<<blockBits-1 {
		n.mu.Unlock()
		return nil, fmt.Errorf("all %d addresses are in use: %w", slot-1, unix.EAGAIN)
	}
	n.used[slot] = true
	n.mu.Unlock()
	w := &Network{n: n, slot: slot, device: fmt.Sprintf("%s%03x", n.prefix(), slot)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.ns, err = NewNamespace(); err != nil {
		return nil, err
	}
	if err := w.makeLink(); err != nil {
		return nil, err
	}
	outside := toAddr(n.base + uint32(slot))
	if err := w.route(outside); err != nil {
		return nil, err
	}
	return w, n.nft.add(w.device, outside)
}

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
	ip := net.IPNet{IP: Inside.Addr().AsSlice(), Mask: net.CIDRMask(Inside.Bits(), 32)}
	for _, do := range []func() error{
		func() error { return in.LinkSetUp(lo) },
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

// uplinks are the devices that default routes leave by.
func (n *Networks) uplinks() ([]netlink.Link, error) {
	routes, err := undisturbed(func() ([]netlink.Route, error) { return n.host.RouteList(nil, netlink.FAMILY_V4) })
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

// forwardUplinks switches forwarding on for the uplinks only, not for the host: a packet is forwarded when the device it came in by allows
// it, and answers come in by the uplinks. What such a device would forward beside our answers is dropped (ruleset.guard): the host
// becomes nobody's router.
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

// undisturbed repeats a listing until nobody has changed what it lists meanwhile: the kernel says so (NLM_F_DUMP_INTR), and what it gave may lack an entry. On a
// host where several servers make and remove sandboxes that is an everyday thing.
func undisturbed[T any](list func() ([]T, error)) (all []T, err error) {
	for range 50 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// sweep puts back what this backend, or an earlier one of its folder, changed on the host.
func (n *Networks) sweep() error {
	var errs []error
	if b, err := os.ReadFile(n.state); err == nil {
		for _, name := range strings.Fields(string(b)) {
			if err := writeSysctl("ipv4", name, "forwarding", "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("forwarding of %s: %w", name, err))
			}
		}
	}
	links, err := undisturbed(n.host.LinkList)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("devices: %w", err))...)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, n.prefix()) {
			if err := n.host.LinkDel(l); err != nil && !errors.Is(err, syscall.ENODEV) {
				errs = append(errs, fmt.Errorf("device %s: %w", l.Attrs().Name, err))
			}
		}
	}
	errs = append(errs, removeRuleset(n.hash), n.sweepAddresses())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(n.state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network state: %w", err)
	}
	return nil
}

// Close ends the relay and puts back what was changed. All sandboxes are gone by then.
func (n *Networks) Close() error {
	var err error
	if n.relay != nil {
		err = n.relay.close()
	}
	err = errors.Join(err, n.sweep())
	n.host.Close()
	return err
}
