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
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// # How a sandbox reaches the internet
//
//	in the sandbox          its namespace        the host
//	198.19.255.2/30  ---->  eth0 === veth ====>  tw HASH SLOT --> rewrite source to 198.18.0.0/15 + slot --> filter --> masquerade --> uplink
//
// Inside, every sandbox has the same address, so that a snapshot of one fits any other. Outside each has its own: the
// first rule a packet meets rewrites it, and the last rule of an answer writes it back, without state. gVisor speaks
// raw Ethernet on eth0; the namespace's own network stack has no address and sees nothing. Neither side asks for
// addresses (ARP): both know each other's, for they are the same everywhere, too. A machine has one hop more (tap.go).
//
// The gateway's address is the host, as far as anything of it can be reached (hostaccess.go): name servers
// (dnsrelay.go) and ports that the operator named.
//
// All addresses are of 198.18.0.0/15, which RFC 2544 sets apart for measuring network gear: no host of the internet has
// them, and private networks rarely do.
var (
	Inside      = netip.MustParsePrefix("198.19.255.2/30")
	Gateway     = netip.MustParseAddr("198.19.255.1")
	Platform    = netip.MustParseAddr("169.254.100.1") // of the loopback inside, as on the service: for what the platform serves in the sandbox
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
	base  uint32   // first outside address, that of the host's side: no sandbox has it
	claim *os.File // says to other backends that the block is ours
	paths hostPaths
	relay *dnsRelay // nil: sandboxes ask name servers themselves

	mu        sync.Mutex // guards what follows
	used      map[int]bool
	forwarded []string // devices whose forwarding we switched on
}

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
	// Of the scope host, as all of the loopback: it is no source for what leaves the host.
	if err := n.host.AddrReplace(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, 32)), Label: n.label(), Scope: int(netlink.SCOPE_HOST)}); err != nil {
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
	addrs, err := Undisturbed(func() ([]netlink.Addr, error) { return n.host.AddrList(lo, netlink.FAMILY_V4) })
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
	routes, err := Undisturbed(func() ([]netlink.Route, error) { return n.host.RouteList(nil, netlink.FAMILY_V4) })
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
		if !free {
			continue
		}
		if ours, err := n.claimBlock(base); err != nil || ours {
			return base, err
		}
	}
	return 0, fmt.Errorf("every block of %v/15 is in use on this host", outsideBase)
}

// claimsDir holds a lock for each block that was ever used, at most 31 empty files. The lock goes with the process that has it.
const claimsDir = "/run/thaw"

// claimBlock takes a block, unless another backend of this host has it: whose routes are seen only once it has sandboxes.
func (n *Networks) claimBlock(base uint32) (ours bool, err error) {
	err = os.MkdirAll(claimsDir, 0o700)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(filepath.Join(claimsDir, "block-"+toAddr(base).String()), os.O_CREATE|os.O_RDWR, 0o600)
	}
	if err != nil { // a host without a /run of its own: two that start at once are rare
		return true, nil //nolint:nilerr // see above
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		return false, fmt.Errorf("claims of addresses: %w", err)
	}
	n.claim = f
	return true, nil
}

// Make makes the network of one sandbox of gVisor.
func (n *Networks) Make() (*Network, error) { return n.make((*Network).furnish) }

func (n *Networks) make(furnish func(*Network, *netlink.Handle, netlink.Link) error) (_ *Network, err error) {
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
	w := &Network{n: n, slot: slot, device: fmt.Sprintf("%s%03x", n.prefix(), slot), mtu: n.mtu()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.ns, err = NewNamespace(); err != nil {
		return nil, err
	}
	err = w.makeLink(func(in *netlink.Handle, eth netlink.Link) error { return furnish(w, in, eth) })
	if err != nil {
		return nil, err
	}
	outside := toAddr(n.base + uint32(slot))
	if err := w.route(outside); err != nil {
		return nil, err
	}
	return w, n.nft.add(w.device, outside)
}

// Undisturbed repeats a listing until nobody has changed what it lists meanwhile: the kernel says so (NLM_F_DUMP_INTR),
// and what it gave may lack an entry. On a host where several servers make and remove sandboxes that is an everyday
// thing.
func Undisturbed[T any](list func() ([]T, error)) (all []T, err error) {
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
	links, err := Undisturbed(n.host.LinkList)
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
	if n.claim != nil {
		n.claim.Close()
	}
	return err
}
