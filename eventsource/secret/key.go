package secret

import (
	"crypto/cipher"
	"crypto/des"  //nolint:gosec // the service's keys are encrypted so: event-sources.md 6.6
	"crypto/md5"  //nolint:gosec // as above
	"crypto/sha1" //nolint:gosec // as above
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"hash"
	"math/big"
	"unicode/utf16"

	"github.com/youmark/pkcs8"
)

var (
	errNoKey     = errors.New("no private key in PEM")
	errDecrypted = errors.New("the password is not that of the key")
	errUnknown   = errors.New("the key is encrypted in a way that is not known")
)

// maxRounds bounds the work that a key may ask for: openssl makes 2,048 rounds.
const maxRounds = 10_000_000

// Key reads a private key in PEM and gives it without its encryption. The service takes keys that are encrypted by PBES1;
// those of today's tools, PBES2, are taken as well.
func Key(text, password string) ([]byte, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoKey
	}
	if password == "" || block.Type != "ENCRYPTED PRIVATE KEY" {
		return []byte(text), nil
	}
	var e struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if _, err := asn1.Unmarshal(block.Bytes, &e); err != nil {
		return nil, errNoKey
	}
	der, err := decrypted(e.Algorithm, e.Data, password)
	if errors.Is(err, errUnknown) {
		der, err = byPBES2(block.Bytes, password)
	}
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func byPBES2(der []byte, password string) ([]byte, error) {
	key, err := pkcs8.ParsePKCS8PrivateKey(der, []byte(password))
	if err != nil {
		return nil, errDecrypted
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// The algorithms of PBES1 that Java and openssl have, but for those with RC2. Source: RFC 8018, 6.1 and A.3; RFC 7292, C.
var (
	md5DES   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 3}
	sha1DES  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 10}
	sha13DES = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}
)

// decrypted decrypts what is encrypted by PBES1.
func decrypted(a pkix.AlgorithmIdentifier, data []byte, password string) ([]byte, error) {
	var p struct {
		Salt   []byte
		Rounds int
	}
	if _, err := asn1.Unmarshal(a.Parameters.FullBytes, &p); err != nil || p.Rounds < 1 || p.Rounds > maxRounds || len(p.Salt) == 0 {
		return nil, errUnknown // PBES2 has other parameters
	}
	var block cipher.Block
	var iv []byte
	var err error
	switch {
	case a.Algorithm.Equal(md5DES), a.Algorithm.Equal(sha1DES):
		h := md5.New()
		if a.Algorithm.Equal(sha1DES) {
			h = sha1.New()
		}
		derived := pbkdf1(h, []byte(password), p.Salt, p.Rounds)
		block, err = des.NewCipher(derived[:8])
		iv = derived[8:16]
	case a.Algorithm.Equal(sha13DES):
		block, err = des.NewTripleDESCipher(pkcs12(1, 24, password, p.Salt, p.Rounds))
		iv = pkcs12(2, 8, password, p.Salt, p.Rounds)
	default:
		return nil, errUnknown
	}
	if err != nil || len(data) == 0 || len(data)%block.BlockSize() != 0 {
		return nil, errDecrypted
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	n := int(plain[len(plain)-1])
	if n < 1 || n > block.BlockSize() {
		return nil, errDecrypted
	}
	plain = plain[:len(plain)-n]
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, errDecrypted
	}
	return plain, nil
}

// pbkdf1 is that of RFC 8018, 5.1.
func pbkdf1(h hash.Hash, password, salt []byte, rounds int) []byte {
	sum := append(append([]byte{}, password...), salt...)
	for range rounds {
		h.Reset()
		h.Write(sum)
		sum = h.Sum(nil)
	}
	return sum
}

// pkcs12 derives size bytes for a purpose: 1 is a key, 2 the beginning of a chain. Source: RFC 7292, B.2, with SHA-1.
func pkcs12(purpose byte, size int, password string, salt []byte, rounds int) (out []byte) {
	const block = 64
	var secret []byte
	for _, c := range append(utf16.Encode([]rune(password)), 0) {
		secret = append(secret, byte(c>>8), byte(c))
	}
	filled := func(of []byte) (all []byte) {
		for len(all) < (len(of)+block-1)/block*block {
			all = append(all, of[len(all)%len(of)])
		}
		return all
	}
	in := append(filled(salt), filled(secret)...)
	for len(out) < size {
		h := sha1.New() //nolint:gosec // as above
		for range block {
			h.Write([]byte{purpose})
		}
		h.Write(in)
		sum := h.Sum(nil)
		for range rounds - 1 {
			next := sha1.Sum(sum) //nolint:gosec // as above
			sum = next[:]
		}
		out = append(out, sum...)
		add := new(big.Int).Add(new(big.Int).SetBytes(filled(sum)), big.NewInt(1))
		for i := 0; i < len(in); i += block {
			n := new(big.Int).Add(new(big.Int).SetBytes(in[i:i+block]), add)
			b := n.FillBytes(make([]byte, block+2)) // what overflows is left out
			copy(in[i:i+block], b[len(b)-block:])
		}
	}
	return out[:size]
}
