package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The certificate of a client is in events where TLS has verified it, and nowhere else.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 8, 5, 0, 28, 21, 0, time.UTC)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(0xa1b2c3), Subject: pkix.Name{CommonName: "client", Organization: []string{"Example"}}, NotBefore: from,
		NotAfter: from.AddDate(100, 0, 0), IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	w := newWorld(t)
	w.function("f", echo)
	w.api(HTTP, DefaultStage, nil, "GET /")
	for auth, want := range map[tls.ClientAuthType]bool{tls.RequireAndVerifyClientCert: true, tls.RequireAnyClientCert: false} {
		server := httptest.NewUnstartedServer(w.Server)
		server.TLS = &tls.Config{ClientAuth: auth, ClientCAs: pool}
		server.StartTLS()
		client := server.Client()
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = apiHost
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		server.Close()
		asked := w.asked("f")
		event := asked[len(asked)-1]
		for _, part := range []string{`"subjectDN":"CN=client,O=Example"`, `"serialNumber":"a1:b2:c3"`, `"notBefore":"Aug  5 00:28:21 2026 GMT"`, `"clientCertPem":"-----BEGIN CERTIFICATE-----\n`} {
			if strings.Contains(event, part) != want {
				t.Errorf("%v: %s in %s", auth, part, event)
			}
		}
		if !strings.Contains(event, `"x-forwarded-proto":"https"`) {
			t.Error(event)
		}
	}
}
