package secret_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"testing"

	"thaw/eventsource/secret"
)

// Keys that openssl has encrypted, by PBES1 as the service wants them, and by PBES2, are read; S-088.
func TestEncryptedKeys(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl encrypts the keys of this test")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if got, err := secret.Key(string(plain), ""); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("a plain key: %s, %v", got, err)
	}
	for _, how := range [][]string{{"-v1", "PBE-SHA1-3DES"}, {"-v1", "PBE-MD5-DES"}, {"-v1", "PBE-SHA1-DES"}, {"-v2", "aes-256-cbc"}} {
		for _, password := range []string{"hush", "söme longer pässword, with more than thirty-two characters"} {
			c := exec.Command("openssl", append([]string{"pkcs8", "-topk8", "-provider", "legacy", "-provider", "default", "-passout", "pass:" + password}, how...)...)
			c.Stdin = bytes.NewReader(plain)
			encrypted, err := c.Output()
			if err != nil {
				t.Logf("%v: this openssl has it no more: %v", how, err)
				continue
			}
			got, err := secret.Key(string(encrypted), password)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%v: %s, %v", how, got, err)
			}
			if _, err := secret.Key(string(encrypted), "wrong"); err == nil {
				t.Errorf("%v: read with a wrong password", how)
			}
		}
	}
	for _, none := range []string{"", "no PEM", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"} {
		if _, err := secret.Key(none, "x"); err == nil {
			t.Errorf("%q is a key", none)
		}
	}
}
