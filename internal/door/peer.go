package door

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// peerKey is the key of the function that tells whose a connection is.
type peerKey struct{}

// peerOf finds a connection's user once.
type peerOf func() (uid uint32, err error)

func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(sync.OnceValues(func() (uint32, error) {
		client, err1 := netip.ParseAddrPort(c.RemoteAddr().String())
		server, err2 := netip.ParseAddrPort(c.LocalAddr().String())
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		return userOf(unmapped(client), unmapped(server))
	})))
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// sameUser refuses requests of other users of this host.
func sameUser(r *http.Request) error {
	peer, ok := r.Context().Value(peerKey{}).(peerOf)
	if !ok {
		return refuse("It is not known which user of this host sent the request.")
	}
	uid, err := peer()
	if err != nil {
		return refuse("It is not known which user of this host sent the request (%v). Requests without a signature are taken from the server's own user only.", err)
	}
	if !mayAsk(uid, os.Getuid(), os.Getenv("SUDO_UID")) {
		return refuse("User %d of this host may not use this server without a signature, only its own user, and root. Start it with --credentials FILE and sign, or with --unsigned everyone.", uid)
	}
	return nil
}

// mayAsk says who could do as the server's user all the same: that user, root, and, for a server that sudo started as
// root, the one who called sudo.
func mayAsk(uid uint32, own int, sudo string) bool {
	if uid == 0 || int(uid) == own {
		return true
	}
	n, err := strconv.ParseUint(sudo, 10, 32)
	return own == 0 && err == nil && uint32(n) == uid
}

// errNoSocket: the peer is gone, or is not on this host.
var errNoSocket = errors.New("its socket is not on this host any more")

// userOf returns the user of the socket that is connected from client to server, both in this network namespace.
//
// A socket that its process has closed belongs to nobody, which the kernel tells as user 0. Such a one has no inode
// either, and is not taken: else anybody could send a request, close, and be root.
func userOf(client, server netip.AddrPort) (uint32, error) {
	uid, inode, err := diagnose(client, server)
	if errors.Is(err, errNoDiagnosis) {
		uid, inode, err = lookUpTwice(client, server)
	}
	if err == nil && inode == 0 {
		err = errNoSocket
	}
	return uid, err
}

// errNoDiagnosis: this kernel has no sock_diag.
var errNoDiagnosis = errors.New("the kernel does not tell of sockets")

// Layouts of inet_diag_req_v2 and inet_diag_msg. Source: linux/inet_diag.h. The kernel reads the user before the inode
// (net/ipv4/inet_diag.c, inet_diag_msg_attrs_fill): an inode says that the user read before it was real.
const (
	diagRequestLen = 56
	diagAnswerLen  = 72
	tcpListen      = 10
	tcpSynSent     = 2
)

// diagnose asks the kernel for exactly one socket.
func diagnose(client, server netip.AddrPort) (uid, inode uint32, err error) {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = unix.AF_INET, unix.IPPROTO_TCP
	if client.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // in any state
	id := b[8:]
	binary.BigEndian.PutUint16(id, client.Port())
	binary.BigEndian.PutUint16(id[2:], server.Port())
	copy(id[4:20], client.Addr().AsSlice())
	copy(id[20:36], server.Addr().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // no cookie
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, 0)
	request.AddRawData(b)
	answers, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		if !diagnosable() { // the module for TCP is missing: same error
			return 0, 0, errNoDiagnosis
		}
		return 0, 0, errNoSocket
	case err != nil:
		return 0, 0, fmt.Errorf("%w: %w", errNoDiagnosis, err)
	case len(answers) != 1 || len(answers[0]) < diagAnswerLen:
		return 0, 0, errNoDiagnosis
	}
	a := answers[0]
	// Without a socket for both addresses, one that listens on the first of them is found.
	if a[1] == tcpListen || a[1] == tcpSynSent || !bytes.Equal(a[4:8], id[:4]) {
		return 0, 0, errNoSocket
	}
	return binary.NativeEndian.Uint32(a[64:]), binary.NativeEndian.Uint32(a[68:]), nil
}

// diagnosable says whether sock_diag knows TCP here, by asking for all listening sockets.
func diagnosable() bool {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 1<<tcpListen)
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	request.AddRawData(b)
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	return err == nil
}

// lookUpTwice reads /proc/net/tcp. The kernel may read the inode before the user there, so one reading alone proves
// nothing: a socket that is there in the second was there while the first was made.
func lookUpTwice(client, server netip.AddrPort) (uid, inode uint32, err error) {
	uid, inode, err = lookUp(client, server)
	if err != nil {
		return 0, 0, err
	}
	uid2, inode2, err := lookUp(client, server)
	if err == nil && (uid != uid2 || inode != inode2) {
		err = errNoSocket
	}
	return uid, inode, err
}

func lookUp(client, server netip.AddrPort) (uid, inode uint32, err error) {
	var errs []error
	for _, table := range []struct {
		path string
		wide bool
	}{{"/proc/net/tcp", false}, {"/proc/net/tcp6", true}} {
		if client.Addr().Is6() && !table.wide {
			continue
		}
		text, err := os.ReadFile(table.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		want := []byte(" " + tableAddress(client, table.wide) + " " + tableAddress(server, table.wide) + " ")
		for line := range bytes.Lines(text) {
			if !bytes.Contains(line, want) {
				continue
			}
			// sl local remote st queues timer retransmits uid timeout inode. Source: Linux, proc_net_tcp.rst
			f := strings.Fields(string(line))
			if len(f) < 10 || f[3] == "02" || f[3] == "0A" {
				continue
			}
			u, err1 := strconv.ParseUint(f[7], 10, 32)
			i, err2 := strconv.ParseUint(f[9], 10, 32)
			return uint32(u), uint32(i), errors.Join(err1, err2)
		}
	}
	return 0, 0, errors.Join(append(errs, errNoSocket)...)
}

// tableAddress writes an address as /proc/net/tcp does: words of the address in the host's byte order, then the port.
func tableAddress(a netip.AddrPort, wide bool) string {
	b := a.Addr().AsSlice()
	if wide {
		w := a.Addr().As16()
		b = w[:]
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	return strings.ToUpper(hex.EncodeToString(b)) + ":" + fmt.Sprintf("%04X", a.Port())
}
