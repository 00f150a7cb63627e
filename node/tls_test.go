package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/net/dns/dnsmessage"

	"thaw/internal/certtest"
	"thaw/internal/wholebody"
)

// secureClient calls every name at one address, and trusts one authority.
func secureClient(t *testing.T, addr string, roots *x509.CertPool) *http.Client {
	t.Helper()
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// secureLambda is AWS's client over TLS.
func secureLambda(c *http.Client, endpoint string) *lambda.Client {
	return lambda.New(lambda.Options{Region: "eu-west-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1, HTTPClient: wholebody.Client(c),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// A server with a certificate for its own name and those of its function URLs: the API, and functions at https URLs, over
// HTTP/2. The function hears that it was called so.
func TestTLSWithACertificate(t *testing.T) {
	t.Parallel()
	dir := ownDir(t)
	cert, key := certtest.Make(t, dir, "thaw.test", "*.lambda-url.eu-west-1.thaw.test")
	certPEM, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	s := openServerWith(t, "process", dir, func(c *Config) {
		c.TLSCert, c.TLSKey, c.URLDomain, c.AllowedHosts = cert, key, "thaw.test", "thaw.test"
	})
	defer s.node.Close(context.Background())
	if h := s.node.Health(); !strings.HasPrefix(h.Endpoint, "https://127.0.0.1:") || h.Certificate != string(certPEM) {
		t.Errorf("%+v", h)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	c := secureClient(t, s.node.Addr(), roots)
	s.client = secureLambda(c, "https://thaw.test")
	f := (&server{t: t, node: s.node, client: s.client, kind: s.kind}).js(`exports.handler = async e => ({ statusCode: 200, headers: { 'x-proto': e.requestContext?.http?.protocol, 'x-forwarded': e.headers['x-forwarded-proto'] }, body: 'secure' })`)
	at := f.url("", nil)
	if _, port, _ := net.SplitHostPort(s.node.Addr()); !strings.HasPrefix(at, "https://") || !strings.HasSuffix(at, ".lambda-url.eu-west-1.thaw.test:"+port+"/") {
		t.Errorf("the URL is %s", at)
	}
	resp, err := c.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "secure" || resp.Proto != "HTTP/2.0" || resp.Header.Get("X-Forwarded") != "https" || resp.Header.Get("X-Proto") != "HTTP/2.0" {
		t.Errorf("%s %q %v %v", resp.Proto, body, resp.Header, err)
	}
	if out, err := s.client.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &f.name}); err != nil || !strings.HasPrefix(*out.Code.Location, "https://thaw.test/") {
		t.Errorf("%v %v", out, err)
	}
}

// authority is an ACME server, Let's Encrypt's own for tests. It looks up every name here and asks for its challenges at
// the server's port.
func authority(t *testing.T, tlsPort int) (directory string, client http.RoundTripper, roots *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "the only one"}})
	front := wfe.New(quiet, store, va.New(quiet, 1, tlsPort, false, localNames(t), store), issuer, []string{"pebble.test"}, false, false, 0, 0)
	h := httptest.NewTLSServer(front.Handler())
	t.Cleanup(h.Close)
	roots = x509.NewCertPool()
	roots.AddCert(issuer.GetRootCert(0).Cert)
	return h.URL + wfe.DirectoryPath, h.Client().Transport, roots
}

// localNames is a name server, spoken to by TCP, for which every name is this host.
func localNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // then it waits for its client
				answerLocally(c)
			})
		}
	})
	return l.Addr().String()
}

// answerLocally answers one question. Source: RFC 1035, 4.2.2: messages have their length in front.
func answerLocally(c net.Conn) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	b := make([]byte, binary.BigEndian.Uint16(head))
	var m dnsmessage.Message
	if _, err := io.ReadFull(c, b); err != nil || m.Unpack(b) != nil || len(m.Questions) != 1 {
		return
	}
	q := m.Questions[0]
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	if q.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	}
	if out, err := answer.Pack(); err == nil {
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)) //nolint:errcheck,gosec // asked again
	}
}

// Certificates come from an ACME authority when a name is asked for: the server's, and that of a function URL that is
// there, and no other. They are kept over a restart.
func TestACME(t *testing.T) {
	dir, port := ownDir(t), freePort(t)
	directory, client, roots := authority(t, port)
	open := func() *server {
		return openServerWith(t, "process", dir, func(c *Config) {
			c.Listen = "127.0.0.1:" + strconv.Itoa(port)
			c.ACMEDomain, c.ACMEServer, c.acmeTransport = "thaw.test", directory, client
			c.URLDomain, c.AllowedHosts = "thaw.test", "thaw.test"
		})
	}
	s := open()
	c := secureClient(t, s.node.Addr(), roots)
	s.client = secureLambda(c, "https://thaw.test")
	f := s.js(`exports.handler = async () => 'confirmed'`)
	at := f.url(types.InvokeModeBuffered, nil)
	said := func(c *http.Client) string {
		t.Helper()
		resp, err := c.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if got := said(c); got != "confirmed" {
		t.Errorf("at %s: %s", at, got)
	}
	host, rest, _ := strings.Cut(strings.TrimPrefix(at, "https://"), ".")
	for _, name := range []string{"other.test", strings.Repeat("a", len(host)) + "." + strings.Split(rest, ":")[0]} {
		if _, err := c.Get("https://" + name); err == nil {
			t.Errorf("a certificate for %s", name)
		}
	}
	if h := s.node.Health(); h.ServerName != "thaw.test" {
		t.Errorf("%+v", h)
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Error(err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "certificates", "*thaw.test*"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("nothing is kept: %v %v", kept, err)
	}
	for _, path := range kept {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", path, info.Mode())
		}
	}
	client = nil // the authority is gone
	directory = "https://127.0.0.1:1/"
	s = open()
	defer s.node.Close(context.Background())
	if got := said(secureClient(t, s.node.Addr(), roots)); got != "confirmed" {
		t.Errorf("after a restart: %s", got)
	}
	if _, err := secureLambda(secureClient(t, s.node.Addr(), roots), "https://thaw.test").DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String(f.name)}); err != nil {
		t.Error(err)
	}
}
