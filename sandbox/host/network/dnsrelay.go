package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dnsRelay answers the name queries of sandboxes at the gateway's address by asking the host's own name servers, where
// those listen for the host alone: dnsmasq, unbound and systemd-resolved on the loopback, Docker's 127.0.0.11, or
// servers with an IPv6 address. It hands on packets as they are and knows only where a message begins, so every kind of
// record and extension passes.
//
// It listens on one address, which belongs to this backend alone; rules keep everybody but sandboxes away (ruleset.go).
// Owner: the networks that opened it; close waits for its goroutines.
type dnsRelay struct {
	log      *slog.Logger
	servers  func() []netip.AddrPort // in the order of the host; may change
	udp      *net.UDPConn
	tcp      *net.TCPListener
	ctx      context.Context // ends with close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	inFlight chan struct{} // places
}

const (
	maxQueries = 512             // in flight; what comes beyond them is dropped, and asked again by its sender
	dnsTry     = 2 * time.Second // for one server, before the next is asked; resolvers wait 5 seconds
	dnsIdle    = 10 * time.Second
	dnsHeader  = 12 // bytes. Source: RFC 1035, 4.1.1
)

func openDNSRelay(addr netip.Addr, servers func() []netip.AddrPort, log *slog.Logger) (_ *dnsRelay, err error) {
	r := &dnsRelay{log: log, servers: servers, inFlight: make(chan struct{}, maxQueries)}
	for range 10 { // one port for both
		if r.udp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))); err != nil {
			return nil, fmt.Errorf("relay of names: %w", err)
		}
		if r.tcp, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(r.addr())); err == nil {
			break
		}
		r.udp.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("relay of names: %w", err)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.wg.Add(2)
	go r.serveUDP()
	go r.serveTCP()
	return r, nil
}

func (r *dnsRelay) addr() netip.AddrPort { return r.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

func (r *dnsRelay) close() error {
	r.cancel()
	err := errors.Join(r.udp.Close(), r.tcp.Close())
	r.wg.Wait()
	return err
}

// start runs do if there is a place.
func (r *dnsRelay) start(do func()) bool {
	select {
	case r.inFlight <- struct{}{}:
	default:
		return false
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		defer func() { <-r.inFlight }()
		do()
	}()
	return true
}

func (r *dnsRelay) serveUDP() {
	defer r.wg.Done()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if r.ctx.Err() != nil {
			return
		}
		if err != nil || n < dnsHeader { // an ICMP error of an earlier answer
			continue
		}
		query := append([]byte(nil), buf[:n]...)
		r.start(func() {
			r.udp.WriteToUDPAddrPort(r.answer(query), from) //nolint:errcheck // it asks again
		})
	}
}

// answer asks one server after the other. When none answers, the sandbox is told at once (SERVFAIL) instead of waiting.
func (r *dnsRelay) answer(query []byte) []byte {
	for _, s := range r.servers() {
		if a, err := r.ask(s, query); err == nil {
			return a
		} else if r.ctx.Err() == nil {
			r.log.Debug("a name server did not answer", "server", s, "err", err)
		}
	}
	failed := append([]byte(nil), query...)
	failed[2] |= 0x80                     // an answer
	failed[3] = failed[3]&0x70 | 0x80 | 2 // recursion available, SERVFAIL
	return failed
}

func (r *dnsRelay) ask(server netip.AddrPort, query []byte) ([]byte, error) {
	// Connected, so that only this server's packets come back, and its absence is told at once. The port is a fresh one
	// each time.
	c, err := (&net.Dialer{}).DialContext(r.ctx, "udp", server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(r.ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(dnsTry)) //nolint:errcheck // of a new socket
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if n >= dnsHeader && buf[0] == query[0] && buf[1] == query[1] && buf[2]&0x80 != 0 {
			return buf[:n:n], nil
		}
	}
}

func (r *dnsRelay) serveTCP() {
	defer r.wg.Done()
	for {
		c, err := r.tcp.AcceptTCP()
		if r.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // no descriptor is free, say
			continue
		}
		if !r.start(func() { r.relayTCP(c) }) {
			c.Close()
		}
	}
}

// relayTCP hands on messages, each with its length before it, over one connection to the first server that takes one.
func (r *dnsRelay) relayTCP(c *net.TCPConn) {
	defer c.Close()
	defer context.AfterFunc(r.ctx, func() { c.Close() })()
	var up net.Conn
	for _, s := range r.servers() {
		var err error
		if up, err = (&net.Dialer{Timeout: dnsTry}).DialContext(r.ctx, "tcp", s.String()); err == nil {
			break
		}
	}
	if up == nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(r.ctx, func() { up.Close() })()
	done := make(chan struct{})
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		defer close(done)
		relayMessages(c, up)
		c.CloseWrite() //nolint:errcheck // it is closed below
	}()
	relayMessages(up, c)
	if t, ok := up.(*net.TCPConn); ok {
		t.CloseWrite() //nolint:errcheck // it is closed below
	}
	<-done
}

// relayMessages copies until the sender ends or is silent for too long.
func relayMessages(to, from net.Conn) {
	buf := make([]byte, 2+64<<10)
	for {
		from.SetReadDeadline(time.Now().Add(dnsIdle)) //nolint:errcheck // the read tells
		if _, err := io.ReadFull(from, buf[:2]); err != nil {
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(buf))
		if _, err := io.ReadFull(from, buf[2:n]); err != nil {
			return
		}
		to.SetWriteDeadline(time.Now().Add(dnsIdle)) //nolint:errcheck // the write tells
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
