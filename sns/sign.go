package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // version 1 of SNS's signatures
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"thaw/trigger"
)

// signer signs messages with a key of this server's own, whose certificate is served at certificatePath.
type signer struct {
	dir  string // of the key's files
	once sync.Once
	err  error
	key  *rsa.PrivateKey
	pem  []byte // of the certificate
	name string // of the certificate's file

	mu   sync.Mutex
	made map[[sha256.Size]byte]string // signatures of a moment ago: one message goes to many
}

// keptSignatures bounds what a signer remembers.
const keptSignatures = 256

const (
	keyFile  = "signing-key.pem"
	certFile = "signing-certificate.pem"
	certLife = 10 * 365 * 24 * time.Hour
)

// load reads the key, or makes it. It takes some 100 ms the first time, so it is not done before something is signed.
func (s *signer) load() error {
	s.once.Do(func() {
		if s.err = s.read(); errors.Is(s.err, os.ErrNotExist) {
			if s.err = s.make(); s.err == nil {
				s.err = s.read()
			}
		}
		if s.err != nil {
			s.err = fmt.Errorf("key for the signatures of SNS: %w", s.err)
		}
	})
	return s.err
}

func (s *signer) read() error {
	text, err := os.ReadFile(filepath.Join(s.dir, keyFile))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s holds no key", keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	var ok bool
	if s.key, ok = key.(*rsa.PrivateKey); !ok {
		return fmt.Errorf("%s holds no RSA key", keyFile)
	}
	if s.pem, err = os.ReadFile(filepath.Join(s.dir, certFile)); err != nil {
		return err
	}
	sum := sha256.Sum256(s.pem)
	s.name = "SimpleNotificationService-" + hex.EncodeToString(sum[:16]) + ".pem"
	return nil
}

func (s *signer) make() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	cert := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "SNS of thaw"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The certificate first: a key without it is never read.
	if err := writeWhole(filepath.Join(s.dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return err
	}
	return writeWhole(filepath.Join(s.dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// writeWhole writes a file that is there whole, or not at all.
func writeWhole(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// sign fills in a message's signature.
func (s *signer) sign(m *trigger.SNSMessage, base string) error {
	if err := s.load(); err != nil {
		return err
	}
	m.SigningCertURL = base + Path + s.name
	text := m.SignedText()
	id := sha256.Sum256(append([]byte(m.SignatureVersion), text...))
	s.mu.Lock()
	m.Signature = s.made[id]
	s.mu.Unlock()
	if m.Signature != "" {
		return nil
	}
	h, sum := digest(m.SignatureVersion, text)
	sig, err := rsa.SignPKCS1v15(nil, s.key, h, sum)
	if err != nil {
		return err
	}
	m.Signature = base64.StdEncoding.EncodeToString(sig)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.made) >= keptSignatures || s.made == nil {
		s.made = map[[sha256.Size]byte]string{}
	}
	s.made[id] = m.Signature
	return nil
}

// digest is what a version of signatures is made of: SHA-1 for 1, SHA-256 for 2.
func digest(version string, text []byte) (crypto.Hash, []byte) {
	if version == "1" {
		sum := sha1.Sum(text) //nolint:gosec // as above
		return crypto.SHA1, sum[:]
	}
	sum := sha256.Sum256(text)
	return crypto.SHA256, sum[:]
}

// verify says whether a certificate's key signed a message.
func verify(m *trigger.SNSMessage, cert *x509.Certificate) error {
	if m.SignatureVersion != "1" && m.SignatureVersion != "2" {
		return fmt.Errorf("the SignatureVersion is %q; this server knows 1 and 2", m.SignatureVersion)
	}
	sig, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return errors.New("the signature is not base64")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return errors.New("the certificate has no RSA key")
	}
	h, sum := digest(m.SignatureVersion, m.SignedText())
	if rsa.VerifyPKCS1v15(key, h, sum, sig) != nil {
		return errors.New("the signature is not that of this message")
	}
	return nil
}
