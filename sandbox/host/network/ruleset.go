package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ruleset is the one table of packet rules of a backend. No other table of the host is read or changed; where one of them drops what is
// forwarded (a firewall of the host), that stands: a packet has to pass all.
//
//	arrive   before anything else   from a sandbox: drop what is not IPv4 or not from the inside address; rewrite the source
//	host                            from a sandbox to the gateway's address: to the relay of names, and to what Access names
//	input                           from a sandbox: only what host may lead to. The rest is refused, so nothing else of the host is reached, by whatever address
//	                                to the relay, not from a sandbox: drop
//	local                           from a sandbox to the loopback: with the loopback's address
//	forward                         from a sandbox: not to another, not to link-local, loopback, multicast or broadcast
//	                                to a sandbox: answers only.  by an uplink whose forwarding we switched on: nothing but those
//	output                          to a sandbox: answers only
//	masquerade                      from a sandbox: with the host's address
//	depart   after everything else  to a sandbox: rewrite the destination to the inside address, also in what an ICMP error quotes
//
// Refused means told: a reset for TCP, an ICMP error for the rest. A program that calls what it may not reach learns so
// at once.
type ruleset struct {
	mu      sync.Mutex // one batch at a time; guards guarded
	table   *nftables.Table
	outside *nftables.Set // device -> outside address
	forward *nftables.Chain
	guarded map[string]bool
	prefix  string
}

func TableName(hash string) string { return "thaw_" + hash }

// Register numbers, offsets in the IPv4 header, states of conntrack. Source: linux/netfilter/nf_tables.h, RFC 791.
const (
	reg       = 1
	ipSource  = 12
	ipDest    = 16
	ipSum     = 10
	answering = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
)

// hostPaths are the ways from sandboxes to the host.
type hostPaths struct {
	relay  netip.AddrPort // of names; the zero value: none
	access []HostPort
}

func openRuleset(hash, prefix string, base netip.Addr, bits int, paths hostPaths) (*ruleset, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	r := &ruleset{guarded: make(map[string]bool), prefix: prefix}
	r.table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: TableName(hash)})
	r.outside = &nftables.Set{Table: r.table, Name: "outside", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeIPAddr}
	if err := c.AddSet(r.outside, nil); err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	chain := func(name string, hook *nftables.ChainHook, priority int, typ nftables.ChainType) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		p := nftables.ChainPriority(priority)
		return c.AddChain(&nftables.Chain{Name: name, Table: r.table, Hooknum: hook, Priority: &p, Type: typ, Policy: &accept})
	}
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: r.table, Chain: ch, Exprs: all})
	}
	from, to := device(expr.MetaKeyIIFNAME, prefix), device(expr.MetaKeyOIFNAME, prefix)
	inside := Inside.Addr()

	// conntrack looks at -200: the source must have been rewritten by then.
	arrive := chain("arrive", nftables.ChainHookPrerouting, -310, nftables.ChainTypeFilter)
	rule(arrive, from, protocol(expr.CmpOpNeq, unix.NFPROTO_IPV4), drop())
	rule(arrive, from, address(ipSource, expr.CmpOpNeq, inside), drop())
	rule(arrive, from, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg},
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: r.outside.Name, SetID: r.outside.ID},
		writeAddress(ipSource),
	})
	rule(arrive, from, address(ipSource, expr.CmpOpEq, inside), drop()) // a device that is not in the map

	input := chain("input", nftables.ChainHookInput, -10, nftables.ChainTypeFilter)
	paths.rules(chain, rule, from, input)
	rule(input, from, refuseTCP())
	rule(input, from, refuse())

	r.forward = chain("forward", nftables.ChainHookForward, -10, nftables.ChainTypeFilter)
	rule(r.forward, from, to, refuseTCP())
	rule(r.forward, from, to, refuse())
	for _, p := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "255.255.255.255/32"} {
		rule(r.forward, from, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), inPrefix(ipDest, netip.MustParsePrefix(p)), refuseTCP())
		rule(r.forward, from, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), inPrefix(ipDest, netip.MustParsePrefix(p)), refuse())
	}
	rule(r.forward, to, state(answering), accept())
	rule(r.forward, to, drop())

	output := chain("output", nftables.ChainHookOutput, -10, nftables.ChainTypeFilter)
	rule(output, to, state(answering), accept())
	rule(output, to, drop())

	ours := netip.PrefixFrom(base, bits)
	masq := chain("masquerade", nftables.ChainHookPostrouting, 100, nftables.ChainTypeNAT)
	rule(masq, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), inPrefix(ipSource, ours), []expr.Any{&expr.Masq{}})

	depart := chain("depart", nftables.ChainHookPostrouting, 300, nftables.ChainTypeFilter)
	in4 := inside.As4()
	rule(depart, to, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), inPrefix(ipDest, ours),
		[]expr.Any{&expr.Immediate{Register: reg, Data: in4[:]}, writeAddress(ipDest)})
	for _, typ := range icmpErrors {
		rule(depart, to, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), layer4(expr.CmpOpEq, unix.IPPROTO_ICMP), icmpType(typ),
			[]expr.Any{&expr.Immediate{Register: reg, Data: in4[:]}, writeQuotedSource()})
	}
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return r, nil
}

// device matches packets of devices whose name begins with prefix.
func device(key expr.MetaKey, prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte(prefix)}}
}

func exactDevice(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: ifName(name)}}
}

func ifName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func protocol(op expr.CmpOp, family byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: []byte{family}}}
}

func loadAddress(offset uint32) *expr.Payload {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

// writeAddress replaces an address of the header and puts the checksums right, that of TCP and UDP, too.
func writeAddress(offset uint32) *expr.Payload {
	return &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: ipSum, CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR}
}

func address(offset uint32, op expr.CmpOp, a netip.Addr) []expr.Any {
	b := a.As4()
	return []expr.Any{loadAddress(offset), &expr.Cmp{Op: op, Register: reg, Data: b[:]}}
}

func inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	mask := toAddr(^uint32(0) << (32 - p.Bits())).As4()
	b := p.Masked().Addr().As4()
	return []expr.Any{
		loadAddress(offset),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: mask[:], Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: b[:]},
	}
}

func state(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

// rules lets a sandbox's packets through to the host where the paths lead.
func (p hostPaths) rules(chain func(string, *nftables.ChainHook, int, nftables.ChainType) *nftables.Chain, rule func(*nftables.Chain, ...[]expr.Any), from []expr.Any, input *nftables.Chain) {
	if !p.relay.IsValid() && len(p.access) == 0 {
		return
	}
	host := chain("host", nftables.ChainHookPrerouting, -100, nftables.ChainTypeNAT)
	toGateway := address(ipDest, expr.CmpOpEq, Gateway)
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		l4 := layer4(expr.CmpOpEq, proto)
		if p.relay.IsValid() {
			rule(host, from, toGateway, l4, ports(53, 53), leadTo(p.relay))
			rule(input, from, address(ipDest, expr.CmpOpEq, p.relay.Addr()), l4, ports(p.relay.Port(), p.relay.Port()), accept())
		}
		for _, a := range p.access {
			rule(host, from, toGateway, l4, ports(a.First, a.Last), leadTo(netip.AddrPortFrom(a.Addr, 0)))
			rule(input, from, address(ipDest, expr.CmpOpEq, a.Addr), l4, ports(a.First, a.Last), accept())
		}
	}
	if p.relay.IsValid() {
		others := []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: from[1].(*expr.Cmp).Data}}
		rule(input, others, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), address(ipDest, expr.CmpOpEq, p.relay.Addr()), drop())
	}
	if reachesLoopback(p.access) {
		local := chain("local", nftables.ChainHookInput, 100, nftables.ChainTypeNAT)
		loopback := netip.MustParsePrefix("127.0.0.0/8")
		self := netip.AddrFrom4([4]byte{127, 0, 0, 1}).As4()
		rule(local, from, inPrefix(ipDest, loopback), []expr.Any{
			&expr.Immediate{Register: reg, Data: self[:]},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg},
		})
	}
}

// leadTo gives a connection another destination; port 0 keeps the port.
func leadTo(to netip.AddrPort) []expr.Any {
	const portReg = 2
	a := to.Addr().As4()
	all := []expr.Any{&expr.Immediate{Register: reg, Data: a[:]}}
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg}
	if to.Port() != 0 {
		all = append(all, &expr.Immediate{Register: portReg, Data: binaryutil.BigEndian.PutUint16(to.Port())})
		nat.RegProtoMin = portReg
	}
	return append(all, nat)
}

func layer4(op expr.CmpOp, protocol byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: []byte{protocol}}}
}

// ports matches the destination's port of TCP or UDP.
func ports(first, last uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: binaryutil.BigEndian.PutUint16(first)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: binaryutil.BigEndian.PutUint16(last)},
	}
}

// icmpErrors are the messages that quote a packet: unreachable, time exceeded, parameter problem. Source: RFC 792.
var icmpErrors = []byte{3, 11, 12}

func icmpType(typ byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{typ}},
	}
}

func refuseTCP() []expr.Any {
	return append(layer4(expr.CmpOpEq, unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

func refuse() []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
}

func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

// writeQuotedSource replaces the source of the packet that an ICMP error quotes, which is the sandbox's own, and puts
// the message's checksum right. That of the quoted header stays: nobody checks it.
func writeQuotedSource() *expr.Payload {
	const icmpHeader, icmpSum = 8, 2
	return &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: icmpHeader + ipSource, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: icmpSum}
}

// change applies one batch.
func (r *ruleset) change(what string, do func(*nftables.Conn) error) error {
	c, err := nftables.New()
	if err == nil {
		err = do(c)
	}
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return fmt.Errorf("nftables: %s: %w", what, err)
	}
	return nil
}

// add lets a sandbox's packets pass.
func (r *ruleset) add(device string, outside netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := outside.As4()
	return r.change("add "+device, func(c *nftables.Conn) error {
		return c.SetAddElements(r.outside, []nftables.SetElement{{Key: ifName(device), Val: a[:]}})
	})
}

// remove is the reverse of add; a device that was not added is no error.
func (r *ruleset) remove(device string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.change("remove "+device, func(c *nftables.Conn) error {
		return c.SetDeleteElements(r.outside, []nftables.SetElement{{Key: ifName(device)}})
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// guard drops what comes in by a device and is forwarded to anywhere but a sandbox.
func (r *ruleset) guard(uplink string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guarded[uplink] {
		return nil
	}
	err := r.change("guard "+uplink, func(c *nftables.Conn) error {
		// What goes to a sandbox has been decided by the rules before.
		c.AddRule(&nftables.Rule{Table: r.table, Chain: r.forward, Exprs: append(exactDevice(expr.MetaKeyIIFNAME, uplink), drop()...)})
		return nil
	})
	if err == nil {
		r.guarded[uplink] = true
	}
	return err
}

// removeRuleset deletes the table of a backend, if there is one.
func removeRuleset(hash string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	for _, t := range tables {
		if t.Name == TableName(hash) {
			c.DelTable(t)
			if err := c.Flush(); err != nil {
				return fmt.Errorf("nftables: %w", err)
			}
		}
	}
	return nil
}
