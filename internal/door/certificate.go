package door

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is one of two files, which are read again when they have changed: whoever renews it need not tell the server.
type Certificate struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu   sync.Mutex // of readers of the files
	have atomic.Pointer[loaded]
}

// loaded is what the files held when they were read.
type loaded struct {
	*tls.Certificate
	mark string    // of the files
	at   time.Time // when they were looked at
}

// look is how often the files are looked at.
const look = time.Second

// LoadCertificate reads a certificate with its chain, and its key, in PEM.
func LoadCertificate(cert, key string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{cert: cert, key: key, log: log, now: time.Now}
	l, err := c.load()
	if err != nil {
		return nil, err
	}
	c.have.Store(l)
	return c, nil
}

func (c *Certificate) load() (*loaded, error) {
	l := &loaded{mark: c.mark(), at: c.now()}
	info, err := os.Stat(c.key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("certificate: everybody can read %s; type: chmod o= %s", c.key, c.key)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	l.Certificate = &pair
	return l, nil
}

// mark is another one when a file was changed, or another put in its place.
func (c *Certificate) mark() string {
	var b strings.Builder
	for _, path := range []string{c.cert, c.key} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(&b, info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	return b.String()
}

// Get is for tls.Config. Files that are wrong, or changed by half, leave the certificate that there was.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l := c.have.Load()
	if c.now().Sub(l.at).Abs() < look || !c.mu.TryLock() {
		return l.Certificate, nil
	}
	defer c.mu.Unlock()
	next := &loaded{l.Certificate, c.mark(), c.now()}
	if next.mark != l.mark {
		fresh, err := c.load()
		if err != nil {
			c.log.Error("the new certificate cannot be used; the one before is", "error", err)
		} else {
			next = fresh
			c.log.Info("another certificate", "file", c.cert)
		}
	}
	c.have.Store(next)
	return next.Certificate, nil
}
