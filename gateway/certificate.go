package gateway

import (
	"crypto/x509"
	"encoding/pem"
	"strings"

	"thaw/trigger"
)

// certificate is a certificate as events have it: names in RFC 2253's form, the serial number in pairs of hex digits.
func certificate(c *x509.Certificate) *trigger.ClientCert {
	return &trigger.ClientCert{
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})), Subject: c.Subject.String(), Issuer: c.Issuer.String(),
		Serial:   pairs(c.SerialNumber.Text(16)),
		Validity: trigger.Validity{NotBefore: c.NotBefore.UTC().Format(trigger.CertTime), NotAfter: c.NotAfter.UTC().Format(trigger.CertTime)},
	}
}

// pairs writes a1b2c3 as a1:b2:c3.
func pairs(hex string) string {
	if len(hex)%2 != 0 {
		hex = "0" + hex
	}
	var b strings.Builder
	for i := 0; i < len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(hex[i : i+2])
	}
	return b.String()
}
