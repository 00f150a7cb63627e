package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"thaw/internal/certtest"
)

// A certificate that was renewed is used without a restart; files that do not fit together leave the one before.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certtest.Make(t, dir, "one.test")
	c, err := LoadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c.now = func() time.Time { return now }
	name := func() string {
		t.Helper()
		now = now.Add(2 * look)
		got, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.Subject.CommonName
	}
	if got := name(); got != "one.test" {
		t.Error(got)
	}
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	certtest.Make(t, dir, "two.test")
	fresh, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, append(old, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "one.test" {
		t.Errorf("a key that does not fit: %s", got)
	}
	if err := os.WriteFile(key, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "two.test" {
		t.Errorf("renewed: %s", got)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCertificate(cert, key, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a key that everybody can read was taken")
	}
}

// Over TLS there is HTTP/2, and what holds for connections holds there, too: a stalled body, an answer that nobody reads,
// a bound on connections.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certtest.Make(t, t.TempDir(), "one.test")
	c, err := LoadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/body":
			_, err := io.ReadAll(r.Body)
			if errors.Is(err, ErrStalled) {
				w.WriteHeader(http.StatusRequestTimeout)
			}
		case "/endless":
			chunk := make([]byte, 1<<20)
			for {
				if _, err := w.Write(chunk); err != nil {
					wrote <- err
					return
				}
			}
		default:
			io.WriteString(w, r.Proto)
		}
	})
	_, port := serveTest(t, h, Options{MaxConnections: 2, Stall: 200 * time.Millisecond, WriteStall: 300 * time.Millisecond, TLS: &tls.Config{GetCertificate: c.Get}})
	roots := x509.NewCertPool()
	pemBytes, err := os.ReadFile(cert)
	if err != nil || !roots.AppendCertsFromPEM(pemBytes) {
		t.Fatal(err)
	}
	client := func(two bool) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "one.test"}, ForceAttemptHTTP2: two}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	at := "https://127.0.0.1:" + port
	for two, want := range map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"} {
		resp, err := client(two).Get(at)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
			t.Errorf("%q %v, want %s", body, err, want)
		}
		resp.Body.Close()
	}
	stalled, feed := io.Pipe()
	defer feed.Close()
	go feed.Write([]byte("begun"))
	resp, err := client(true).Post(at+"/body", "text/plain", stalled)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a body that stalls: %v %v", resp, err)
	}
	if resp != nil {
		resp.Body.Close()
	}
	resp, err = client(true).Get(at + "/endless") // read by nobody
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case <-wrote:
	case <-time.After(time.Minute):
		t.Error("an answer that nobody reads goes on")
	}
	var open []net.Conn // idle ones make room for each other
	for range 5 {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: roots, ServerName: "one.test"})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	for _, conn := range open {
		conn.Close()
	}
}
