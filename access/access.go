// Package access knows who may ask a server for something: its access keys, the roles of its functions, and the
// temporary credentials of sessions. Package iam decides by what it says.
//
// All of it lies in a folder, which people may edit, and several servers may share:
//
//	keys/ID.json      an access key, its secret, whose it is and what that may do
//	roles/NAME.json   a role and what it may do
//	session.key       what temporary credentials are made with
//
// That there is a folder keys, empty or not, means that requests must be signed: so the removal of the last key opens
// nothing. A change of a file is seen within a second. A file that cannot be read stands for no key and no role.
package access

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thaw/iam"
)

// Options of a Store; all are required but Now.
type Options struct {
	Dir     string
	Account string // 12 digits: whose root, users and roles are meant
	Log     *slog.Logger
	Now     func() time.Time
}

// Store is the folder. It has no goroutine and needs no end.
type Store struct {
	o       Options
	session []byte // key of temporary credentials

	mu   sync.Mutex // of readers of the folder
	read atomic.Pointer[picture]
}

// picture is what the folder held when it was read.
type picture struct {
	at     time.Time
	mark   string // of the files
	signed bool
	keys   map[string]*key
	roles  map[string]*role
}

// look is how often the folder is looked at.
const look = time.Second

// Key is an access key without its secret.
type Key struct {
	ID           string          `json:"accessKeyId"`
	User         string          `json:"user"`
	Account      string          `json:"account"`
	Organization string          `json:"organization,omitempty"` // o-..., for conditions
	Created      time.Time       `json:"created"`
	Policy       json.RawMessage `json:"policy"`
}

// key is a Key as it lies in its file.
type key struct {
	Key
	Secret string `json:"secretAccessKey"`
	policy *iam.Policy
}

// Role is what functions and sessions of a role may do.
type Role struct {
	Name   string          `json:"name"`
	ARN    string          `json:"arn,omitempty"` // shown, not stored
	Policy json.RawMessage `json:"policy"`
	// Trust says who may assume the role; empty: principals of the account that have the permission to.
	Trust json.RawMessage `json:"trust,omitempty"`
}

type role struct {
	Role
	policy, trust *iam.Policy
}

// Errors of changes.
var (
	ErrNotFound = errors.New("there is no such key or role")
	ErrInvalid  = errors.New("not allowed")
)

// nameRE is what users, roles and sessions may be called. Source: IAM User Guide, "IAM and AWS STS quotas".
var (
	nameRE    = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	anyKeyRE  = regexp.MustCompile(`^\w{16,128}$`)
	accountRE = regexp.MustCompile(`^\d{12}$`)
	orgRE     = regexp.MustCompile(`^(o-[a-z0-9]{10,32})?$`)
)

// Open reads the folder. A file that is wrong is an error here: nobody should have to find out later.
func Open(o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o}
	if err := os.MkdirAll(filepath.Join(o.Dir, "roles"), 0o700); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	var err error
	if s.session, err = sessionKey(filepath.Join(o.Dir, "session.key"), o.Log); err != nil {
		return nil, err
	}
	p, err := s.readFolder()
	if err != nil {
		return nil, err
	}
	s.read.Store(p)
	return s, nil
}

// sessionKey reads the key of temporary credentials, or makes it. Two servers that make it at one time agree on one. A
// damaged one is set aside: all that is lost are the temporary credentials that it made.
func sessionKey(path string, log *slog.Logger) ([]byte, error) {
	for {
		text, err := os.ReadFile(path)
		if err == nil {
			key, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err == nil && len(key) == 32 {
				return key, nil
			}
			log.Error("the key of temporary credentials is damaged: those that it made are good no more, and another key is made", "file", path)
			if err := os.Rename(path, path+".damaged"); err != nil {
				return nil, fmt.Errorf("access: %w", err)
			}
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("access: %w", err)
		}
		var key [32]byte
		rand.Read(key[:]) //nolint:errcheck // never fails: documented
		if err := writeNew(path, []byte(hex.EncodeToString(key[:])+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("access: %w", err)
		}
	}
}

// Signed says whether requests must be signed because there are keys.
func (s *Store) Signed() bool { return s.now().signed }

// HasKeys says whether a folder holds keys, without opening it.
func HasKeys(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "keys", "*.json"))
	return err == nil && len(found) > 0
}

// AddKey makes a key. Its secret is told here and never again.
func (s *Store) AddKey(k Key) (made Key, secret string, err error) {
	if k.Account == "" {
		k.Account = s.o.Account
	}
	switch {
	case !nameRE.MatchString(k.User):
		return k, "", fmt.Errorf("%w: %q is no name of a user", ErrInvalid, k.User)
	case !accountRE.MatchString(k.Account):
		return k, "", fmt.Errorf("%w: the account %q is not 12 digits", ErrInvalid, k.Account)
	case !orgRE.MatchString(k.Organization):
		return k, "", fmt.Errorf("%w: the organization %q is not of the form o-1234567890", ErrInvalid, k.Organization)
	}
	if _, err := iam.Parse(k.Policy, iam.Identity); err != nil {
		return k, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	k.ID, k.Created = "AKIA"+newID(), s.o.Now().UTC().Truncate(time.Second)
	full := key{Key: k, Secret: newSecret()}
	if err := s.write("keys", k.ID, full); err != nil {
		return k, "", err
	}
	return k, full.Secret, nil
}

// newID is the random part of an access key's ID: AWS's have 16 letters and digits.
func newID() string {
	var b [10]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	return base32.StdEncoding.EncodeToString(b[:])
}

// RemoveKey takes a key away. Requests that are signed with it are refused from then on.
func (s *Store) RemoveKey(id string) error {
	if !anyKeyRE.MatchString(id) {
		return ErrNotFound
	}
	return s.remove("keys", id)
}

// Keys lists the keys, by user.
func (s *Store) Keys() []Key {
	list := []Key{}
	for _, k := range s.now().keys {
		list = append(list, k.Key)
	}
	slices.SortFunc(list, func(a, b Key) int { return strings.Compare(a.User+" "+a.ID, b.User+" "+b.ID) })
	return list
}

// PutRole says what a role may do.
func (s *Store) PutRole(r Role) (Role, error) {
	if !nameRE.MatchString(r.Name) {
		return r, fmt.Errorf("%w: %q is no name of a role", ErrInvalid, r.Name)
	}
	if _, err := iam.Parse(r.Policy, iam.Identity); err != nil {
		return r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(r.Trust) > 0 {
		if _, err := iam.Parse(r.Trust, iam.Trust); err != nil {
			return r, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	r.ARN = ""
	if err := s.write("roles", r.Name, r); err != nil {
		return r, err
	}
	r.ARN = s.roleARN(r.Name)
	return r, nil
}

// RemoveRole takes a role away. Its sessions may do nothing from then on.
func (s *Store) RemoveRole(name string) error {
	if !nameRE.MatchString(name) {
		return ErrNotFound
	}
	return s.remove("roles", name)
}

// Roles lists the roles by name.
func (s *Store) Roles() []Role {
	list := []Role{}
	for _, r := range s.now().roles {
		shown := r.Role
		shown.ARN = s.roleARN(r.Name)
		list = append(list, shown)
	}
	slices.SortFunc(list, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *Store) roleARN(name string) string { return "arn:aws:iam::" + s.o.Account + ":role/" + name }
