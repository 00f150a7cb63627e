package snapshot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path/filepath"
	"strings"

	"thaw/function"
	"thaw/internal/faultfs"
)

// InstallationKey is the one secret of an installation. What the store writes is sealed with a key derived from it, and what names
// content is a hash under another: who has the files and not the key learns sizes and times.
type InstallationKey struct {
	aead   cipher.AEAD
	page   []byte
	config []byte
	seed   []byte
}

// ErrBadKey is the fact that a key file is not what LoadKey has written.
var ErrBadKey = errors.New("not a key file")

const keyHead = "thaw installation key 1\n"

// LoadKey reads the key of a file, which it makes at first use: 32 random bytes in hex, mode 0600, durable when it
// returns. Of two that make it at once both get the same. A file that others may read is refused. The error is
// ErrBadKey when the file is damaged.
func LoadKey(fsys faultfs.FS, path string) (*InstallationKey, error) {
	b, err := fsys.ReadFile("key.read", path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(fsys, path); err == nil {
			b, err = fsys.ReadFile("key.read", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("installation key: %w", err)
	}
	files, err := fsys.ReadDir("key.stat", filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("installation key: %w", err)
	}
	for _, f := range files {
		if f.Name == filepath.Base(path) && f.Mode.Perm()&0o077 != 0 {
			return nil, fmt.Errorf("installation key %s can be read by others (mode %#o); type: chmod 600 %s", path, f.Mode.Perm(), path)
		}
	}
	text, ok := strings.CutPrefix(string(b), keyHead)
	secret, err := hex.DecodeString(strings.TrimSpace(text))
	if !ok || err != nil || len(secret) != 32 {
		return nil, fmt.Errorf("installation key %s: %w", path, ErrBadKey)
	}
	return NewKey(secret), nil
}

func makeKey(fsys faultfs.FS, path string) error {
	var secret [32]byte
	rand.Read(secret[:])
	temp := path + "." + string(NewID()) + tempSuffix
	w, err := fsys.Create("key.create", temp)
	if err != nil {
		return err
	}
	if _, err = w.Write([]byte(keyHead + hex.EncodeToString(secret[:]) + "\n")); err == nil {
		err = w.Sync("key.sync")
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		// A link, not a rename: the second of two makers must not replace a key that the first already uses.
		if err = fsys.Link("key.link", temp, path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if rerr := fsys.Remove("key.clean", temp); err == nil {
		err = rerr
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir("key.syncdir", filepath.Dir(path))
}

// NewKey makes a key of 32 secret bytes.
func NewKey(secret []byte) *InstallationKey {
	derive := func(use string) []byte {
		k, err := hkdf.Key(sha256.New, secret, nil, "thaw snapshot "+use+" 1", 32)
		if err != nil {
			panic(err) // the length is right
		}
		return k
	}
	block, err := aes.NewCipher(derive("seal"))
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &InstallationKey{aead: aead, page: derive("page"), config: derive("config"), seed: derive("seed")}
}

// ConfigHash is what Init sees of a version besides its code, as a keyed hash: variables may be short secrets, and records are not encrypted.
func (k *InstallationKey) ConfigHash(v *function.Version) string {
	h := hmac.New(sha256.New, k.config)
	err := json.NewEncoder(h).Encode([]any{v.Runtime, v.Handler, v.Architecture, v.Timeout, v.MemoryMiB, v.EphemeralMiB, v.Vars,
		v.LogFormat, v.AppLogLevel, v.SysLogLevel, v.LogGroup, v.SnapStart, v.InitWithoutLimit})
	if err != nil {
		panic(err) // plain members only
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Seed is a secret of 32 bytes for one use of it by one function: the same whenever it is asked for, and of no use to guess another's.
func (k *InstallationKey) Seed(arn function.ARN, use string) []byte {
	h := hmac.New(sha256.New, k.seed)
	fmt.Fprintf(h, "%q %q", arn, use)
	return h.Sum(nil)
}

// seal encrypts what will be the blob under key, and opens nowhere else.
func (k *InstallationKey) seal(key string, plain []byte) []byte {
	return k.aead.Seal(make([]byte, 0, len(plain)+k.aead.Overhead()), nil, plain, []byte("thaw blob 1 "+key))
}

// open uses sealed up: what it returns lies there.
func (k *InstallationKey) open(key string, sealed []byte) ([]byte, error) {
	return k.aead.Open(sealed[:0], nil, sealed, []byte("thaw blob 1 "+key))
}

// pageHash identifies a page: 96 bits of a keyed hash. Among 2^32 pages, 16 TiB, two different ones have the same with probability 2^-33; the sum of a file would show it.
type pageHash [12]byte

type pageHasher struct {
	h   hash.Hash
	sum [sha256.Size]byte
}

func (k *InstallationKey) newPageHasher() *pageHasher {
	return &pageHasher{h: hmac.New(sha256.New, k.page)}
}

func (p *pageHasher) hash(page []byte) (id pageHash) {
	p.h.Reset()
	p.h.Write(page)
	copy(id[:], p.h.Sum(p.sum[:0]))
	return id
}
