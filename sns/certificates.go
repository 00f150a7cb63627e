package sns

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"thaw/async"
	"thaw/invoke"
	"thaw/push"
)

// Bounds of what is kept of certificates.
const (
	maxCertificates = 64
	certificateLife = 24 * time.Hour
	// failureLife is how long a certificate that was not good is not asked for again: anybody can post messages.
	failureLife    = time.Minute
	maxCertificate = 64 << 10 // bytes
)

// certificatePath is where certificates of signatures are: at the root on AWS, below /sns/ here, below /_aws/sns/ of LocalStack.
var certificatePath = regexp.MustCompile(`^(/[A-Za-z0-9_-]+){0,4}/SimpleNotificationService-[0-9A-Za-z]{1,128}\.pem$`)

// certificates fetches those that messages were signed with.
type certificates struct {
	client *http.Client

	fetching chan struct{} // a place for one at a time
	mu       sync.Mutex
	all      map[string]fetched // by URL and CA
}

type fetched struct {
	cert *x509.Certificate
	err  error
	at   time.Time
}

func (c *certificates) open() {
	c.all, c.fetching = map[string]fetched{}, make(chan struct{}, 1)
	c.client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (c *certificates) known(key string, now time.Time) (fetched, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.all[key]
	life := certificateLife
	if f.err != nil {
		life = failureLife
	}
	return f, ok && now.Sub(f.at) < life
}

// get is the certificate at a URL that was found to be the sender's.
func (c *certificates) get(ctx context.Context, at, ca string, now time.Time) (*x509.Certificate, error) {
	u, err := url.Parse(at)
	if err != nil || !certificatePath.MatchString(u.Path) || u.RawQuery != "" || strings.Contains(at, "#") || u.EscapedPath() != u.Path {
		return nil, fmt.Errorf("%q is not the place of one", at)
	}
	sum := sha256.Sum256([]byte(ca))
	key := at + " " + hex.EncodeToString(sum[:])
	f, ok := c.known(key, now)
	if !ok {
		select {
		case c.fetching <- struct{}{}:
			defer func() { <-c.fetching }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if f, ok = c.known(key, now); !ok { // whoever was first has not fetched it
			f.cert, f.err = c.fetch(ctx, at)
			f.at = now
			if ctx.Err() == nil {
				c.keep(key, f)
			}
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.cert, trusted(f.cert, ca, now)
}

func (c *certificates) keep(key string, f fetched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, old := range c.all { // what was not good goes first: whoever makes names up must not have a good one forgotten
		if len(c.all) >= maxCertificates && old.err != nil {
			delete(c.all, k)
		}
	}
	if len(c.all) >= maxCertificates {
		c.all = map[string]fetched{}
	}
	c.all[key] = f
}

func (c *certificates) fetch(ctx context.Context, at string) (*x509.Certificate, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, &statusError{res.StatusCode}
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxCertificate))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("what is there is no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// trusted refuses a certificate that is not in force, or not of the authorities that the record names.
func trusted(cert *x509.Certificate, ca string, now time.Time) error {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return fmt.Errorf("it is in force from %s to %s", cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly))
	}
	if ca == "" {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// notTaken is what an SNS elsewhere is told: it tries again what it is told with 5xx.
func notTaken(err error) error {
	switch {
	case errors.Is(err, async.ErrFull), errors.Is(err, async.ErrStopping):
		return &failure{http.StatusServiceUnavailable, "InternalError", err.Error()}
	case errors.As(err, new(*invoke.NotFoundError)):
		return &failure{http.StatusNotFound, "NotFound", err.Error()}
	case errors.As(err, new(*push.NotAllowedError)):
		return &failure{http.StatusForbidden, "AuthorizationError", err.Error()}
	}
	return err
}
