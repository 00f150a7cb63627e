package snapshot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"thaw/function"
)

// ID names one snapshot: 32 lower-case hex digits, never used twice.
type ID string

// NewID returns an ID that no snapshot has.
func NewID() ID {
	var b [16]byte
	rand.Read(b[:])
	return ID(hex.EncodeToString(b[:]))
}

// Valid says whether an ID has the form of one; only such IDs become names of blobs and files.
func (id ID) Valid() bool { return len(id) == 32 && strings.Trim(string(id), "0123456789abcdef") == "" }

// Generation counts the snapshots of one version, from 1. It grows with every attempt, so that a late one is recognised.
type Generation uint64

// Version names the function version that a snapshot is of.
type Version struct {
	Function function.ARN           `json:"function"` // unqualified
	Number   function.VersionNumber `json:"number"`
}

// VersionOf names a version.
func VersionOf(v *function.Version) Version { return Version{v.UnqualifiedARN(), v.Number} }

// ARN is the version's qualified ARN.
func (v Version) ARN() function.ARN { return v.Function.Version(v.Number) }

func (v Version) String() string { return string(v.ARN()) }

// ParseVersion is the inverse of ARN.
func ParseVersion(arn string) (Version, error) {
	i := strings.LastIndexByte(arn, ':')
	if i <= 0 || strings.Count(arn, ":") != 7 {
		return Version{}, fmt.Errorf("%q is not the ARN of a version", arn)
	}
	v := Version{function.ARN(arn[:i]), function.VersionNumber(arn[i+1:])}
	if v.Number != function.Latest {
		if n, err := strconv.ParseUint(string(v.Number), 10, 64); err != nil || n == 0 {
			return Version{}, fmt.Errorf("%q is not the ARN of a version", arn)
		}
	}
	return v, nil
}

// Key is everything that made a snapshot what it is. One that was made under another key than the present one is not restored
// but made again: a restored process would meet files, instructions or a kernel that it does not know.
type Key struct {
	Version
	Package      string            `json:"code"`    // function.Package.Identity: code, layers, image
	ConfigHash   string            `json:"config"`  // InstallationKey.ConfigHash
	Runtime      string            `json:"runtime"` // runtimes.Plan.Identity: interpreter, client, library folders
	Sandbox      string            `json:"sandbox"` // backend and its version
	CPUFeatures  string            `json:"cpu"`
	Guest        string            `json:"guest"` // hash of the guest program
	Architecture string            `json:"arch"`
	Extra        map[string]string `json:"extra,omitempty"` // what else a backend depends on
}

// KeyHash is a Key in 64 hex digits.
type KeyHash string

// Hash is the same for equal keys in every release; an absent Extra is an empty one.
func (k Key) Hash() KeyHash {
	if len(k.Extra) == 0 {
		k.Extra = nil
	}
	b, err := json.Marshal(k) // fields in their order, maps sorted
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(append([]byte("thaw snapshot key 1\n"), b...))
	return KeyHash(hex.EncodeToString(sum[:]))
}

// Differs names the members in which two keys differ, for the log line that says why a snapshot is made again.
func (k Key) Differs(other Key) []string {
	var names []string
	add := func(name string, differs bool) {
		if differs {
			names = append(names, name)
		}
	}
	add("version", k.Version != other.Version)
	add("code", k.Package != other.Package)
	add("configuration", k.ConfigHash != other.ConfigHash)
	add("runtime", k.Runtime != other.Runtime)
	add("sandbox", k.Sandbox != other.Sandbox)
	add("cpu", k.CPUFeatures != other.CPUFeatures)
	add("guest", k.Guest != other.Guest)
	add("architecture", k.Architecture != other.Architecture)
	extra := len(k.Extra) != len(other.Extra)
	for n, v := range k.Extra {
		w, ok := other.Extra[n]
		extra = extra || !ok || v != w
	}
	add("extra", extra)
	return names
}
