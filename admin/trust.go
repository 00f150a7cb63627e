package admin

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
)

// HTTPClient calls the server's endpoint, which it knows by what the server has told here; nil: that speaks no TLS, and is
// called like any other. By its address, which no certificate has, nobody else could know it.
func (h *Health) HTTPClient() *http.Client {
	if h.Certificate == "" && h.ServerName == "" {
		return nil
	}
	config := &tls.Config{ServerName: h.ServerName, MinVersion: tls.VersionTLS12}
	if own, _ := pem.Decode([]byte(h.Certificate)); own != nil {
		config.InsecureSkipVerify = true //nolint:gosec // it must be this certificate and no other
		config.VerifyConnection = func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, own.Bytes) {
				return errors.New("another server answers than the one of the data folder")
			}
			return nil
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}
