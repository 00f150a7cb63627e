package gvisor

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
//	input                           from a sandbox: drop. So nothing of the host is reached, by whatever address
//	forward                         from a sandbox: not to another, not to link-local, loopback, multicast or broadcast
//	                                to a sandbox: answers only.  by an uplink whose forwarding we switched on: nothing but those
//	output                          to a sandbox: answers only
//	masquerade                      from a sandbox: with the host's address
//	depart   after everything else  to a sandbox: rewrite the destination to the inside address
type ruleset struct {
	mu      sync.Mutex // one batch at a time; guards guarded
	table   *nftables.Table
	outside *nftables.Set // device -> outside address
	forward *nftables.Chain
	guarded map[string]bool
	prefix  string
}

func tableName(hash string) string { return "thaw_" + hash }

// Register numbers, offsets in the IPv4 header, states of conntrack. Source: linux/netfilter/nf_tables.h, RFC 791.
const (
	reg       = 1
	ipSource  = 12
	ipDest    = 16
	ipSum     = 10
	answering = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
)

func openRuleset(hash, prefix string, base netip.Addr, bits int) (*ruleset, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	r := &ruleset{guarded: make(map[string]bool), prefix: prefix}
	r.table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tableName(hash)})
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
	inside := insideAddr.Addr()

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
	rule(input, from, drop())

	r.forward = chain("forward", nftables.ChainHookForward, -10, nftables.ChainTypeFilter)
	rule(r.forward, from, to, drop())
	for _, p := range []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "255.255.255.255/32"} {
		rule(r.forward, from, protocol(expr.CmpOpEq, unix.NFPROTO_IPV4), inPrefix(ipDest, netip.MustParsePrefix(p)), drop())
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

func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

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
		if t.Name == tableName(hash) {
			c.DelTable(t)
			if err := c.Flush(); err != nil {
				return fmt.Errorf("nftables: %w", err)
			}
		}
	}
	return nil
}
