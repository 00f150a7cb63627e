package secret

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"

	"thaw/eventsource"
)

var errNoCertificate = errors.New("no certificate in PEM")

// Login is how one is let into a source that asks for a name and a password.
type Login struct {
	User, Password string
	Roots          string // PEM of the certificates that the source's is signed by; empty: those of the host
}

// LoginOf reads the secrets that a mapping names as BASIC_AUTH and SERVER_ROOT_CA_CERTIFICATE.
func LoginOf(ctx context.Context, secrets eventsource.Secrets, m *eventsource.Mapping) (Login, error) {
	var l Login
	if uri := m.Secret("BASIC_AUTH"); uri != "" {
		var s struct{ Username, Password string }
		if err := Read(ctx, secrets, uri, &s); err != nil {
			return l, err
		}
		l.User, l.Password = s.Username, s.Password
	}
	if uri := m.Secret("SERVER_ROOT_CA_CERTIFICATE"); uri != "" {
		var s struct{ Certificate string }
		if err := Read(ctx, secrets, uri, &s); err != nil {
			return l, err
		}
		if _, err := (Login{Roots: s.Certificate}).Pool(); err != nil {
			return l, &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The secret " + uri + " holds no certificate in PEM."}
		}
		l.Roots = s.Certificate
	}
	return l, nil
}

// Pool are the certificates by which the source is known; nil: those of the host.
func (l Login) Pool() (*x509.CertPool, error) {
	if l.Roots == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(l.Roots)) {
		return nil, errNoCertificate
	}
	return pool, nil
}

// Read reads a secret that is a JSON object.
func Read(ctx context.Context, secrets eventsource.Secrets, uri string, into any) error {
	b, err := secrets.Secret(ctx, uri)
	if err != nil {
		return err
	}
	if json.Unmarshal(b, into) != nil { // its error may quote the secret
		return &eventsource.ProblemError{Code: "ESM_CONFIG_NOT_VALID", Text: "The secret " + uri + " is not the JSON object that it has to be."}
	}
	return nil
}
