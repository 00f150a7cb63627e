package node

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"thaw/admin"
	"thaw/internal/door"
)

// secure says whether the listener speaks TLS.
func (c *Config) secure() bool { return c.TLSCert != "" || c.ACMEDomain != "" }

func (c *Config) validateTLS() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("tls-cert and tls-key go together"))
	}
	if c.TLSCert != "" && c.ACMEDomain != "" {
		errs = append(errs, errors.New("tls-cert and acme-domain: certificates come from one or the other"))
	}
	if c.ACMEDomain == "" && c.ACMEEmail+c.ACMEServer != "" {
		errs = append(errs, errors.New("acme-email and acme-directory are nothing without acme-domain"))
	}
	for _, name := range c.acmeDomains() {
		if !domainRE.MatchString(name) || !strings.Contains(name, ".") {
			errs = append(errs, fmt.Errorf("acme-domain: %q is no name that an authority knows", name))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) acmeDomains() []string {
	var names []string
	for name := range strings.SplitSeq(c.ACMEDomain, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// certificates are what the listener's connections begin with; nil: it speaks no TLS.
type certificates struct {
	config *tls.Config
	file   *door.Certificate // nil: by ACME
}

// tls is what the listener is given; nil: nothing.
func (c *certificates) tls() *tls.Config {
	if c == nil {
		return nil
	}
	return c.config
}

// openTLS reads the certificate, or makes what fetches some. hostOfURL says whether a name is that of a function URL.
func (n *Node) openTLS(hostOfURL func(string) bool) (*certificates, error) {
	if n.cfg.TLSCert != "" {
		file, err := door.LoadCertificate(n.cfg.TLSCert, n.cfg.TLSKey, n.log)
		if err != nil {
			return nil, err
		}
		return &certificates{&tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: file.Get}, file}, nil
	}
	names := n.cfg.acmeDomains()
	if len(names) == 0 {
		return nil, nil
	}
	m := autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Cache:  autocert.DirCache(filepath.Join(n.cfg.DataDir, "certificates")), // of mode 0700, files of 0600
		Email:  n.cfg.ACMEEmail,
		// An authority refuses whoever asks for too many names, so only those count that lead somewhere.
		HostPolicy: func(_ context.Context, host string) error {
			if slices.Contains(names, host) || hostOfURL(host) {
				return nil
			}
			return fmt.Errorf("%q is no name of this server", host)
		},
	}
	if n.cfg.ACMEServer != "" {
		m.Client = &acme.Client{DirectoryURL: n.cfg.ACMEServer, HTTPClient: &http.Client{Transport: n.cfg.acmeTransport}}
	}
	config := m.TLSConfig()
	config.MinVersion = tls.VersionTLS12
	return &certificates{config: config}, nil
}

// trust is how programs of this host know the server though they call it by its address: by its certificate, or by a name
// that an authority has confirmed.
func (n *Node) trust(h *admin.Health) {
	if n.certificates == nil {
		return
	}
	if n.certificates.file == nil {
		h.ServerName = n.cfg.acmeDomains()[0]
		return
	}
	if c, err := n.certificates.file.Get(nil); err == nil {
		h.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
	}
}
