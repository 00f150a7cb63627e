package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"thaw/internal/nearby"
)

// newClient is the client for backends with a URL. Unless local, it does not connect to this host or its link: whoever
// makes an API would reach what only this host may reach, its own services and those that tell it credentials. The
// address is looked at when the connection is made, so no name leads around it.
func newClient(local bool) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !local {
		d.ControlContext = refuseLocal
	}
	t := &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type tlsSettings struct {
	serverName string
	insecure   bool
}

// clientOf is the client for an integration.
func (s *Server) clientOf(i *Integration) *http.Client {
	set := tlsSettings{i.TLSServerName, i.InsecureTLS}
	if set == (tlsSettings{}) {
		return s.client
	}
	if v, ok := s.others.Load(set); ok {
		return v.(*http.Client)
	}
	own := newClient(s.Local)
	t := own.Transport.(*http.Transport)
	t.TLSClientConfig.ServerName, t.TLSClientConfig.InsecureSkipVerify = set.serverName, set.insecure //nolint:gosec // the owner has said so
	v, _ := s.others.LoadOrStore(set, own)
	return v.(*http.Client)
}

// LocalTargetError refuses a backend that is on this host or its link.
type LocalTargetError struct{ Address string }

// Error says what to type.
func (e *LocalTargetError) Error() string {
	return fmt.Sprintf("%s is on this host or its link, where APIs do not send requests; start thaw with --gateway-local to let them", e.Address)
}

// refuseLocal is a net.Dialer's control.
func refuseLocal(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr(); nearby.Own(ip) || nearby.Link(ip) {
		return &LocalTargetError{address}
	}
	return nil
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

func (k *keptFetch) response(r *http.Request) *http.Response {
	return &http.Response{StatusCode: k.status, Status: http.StatusText(k.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: k.header,
		Body: io.NopCloser(bytes.NewReader(k.body)), ContentLength: int64(len(k.body)), Request: r}
}
