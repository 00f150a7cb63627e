// Package layer holds layers: what a published version of one is, who may use it, and the Library of all of them. How a
// layer gets into an environment is told by function.Package, which keeps what a function needs of it: a function goes on
// with a version that was deleted.
//
// Owner: a Library owns its copy of the records in memory, which is as good as what is stored, because one server writes.
package layer

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key names a layer of this server.
type Key struct{ Account, Region, Name string }

// Record is a layer as it is stored. Members may be added, never renamed. A value that a Library gave out is never changed.
type Record struct {
	Key
	Partition string
	Next      int       // number of the next version; never goes back
	Versions  []Version // ascending
}

// Version is one version of a layer.
type Version struct {
	Number         int
	Description    string
	Created        time.Time
	SHA256         string // lower-case hex of the package as uploaded
	Size, Unzipped int64  // bytes of the package, and of the files in it
	// Runtimes and Architectures are what its publisher says it is for; nil when he said nothing. Nothing is refused for them.
	Runtimes, Architectures []string    `json:",omitempty"`
	License                 string      `json:",omitempty"`
	Statements              []Statement `json:",omitempty"` // of its policy, in the order of their making
	PolicyRevision          string      `json:",omitempty"`
}

// Statement allows somebody to use a version.
type Statement struct {
	ID           string
	Principal    string // *, an account, or the ARN of one
	Organization string `json:",omitempty"`
}

// ErrNotFound is the fact that there is no such version of a layer.
var ErrNotFound = errors.New("no such layer version")

// ErrStale is the fact that a record was changed by another since it was read.
var ErrStale = errors.New("the layer was changed meanwhile")

// Store keeps records. What Put has acknowledged survives the death of the process and of the machine.
type Store interface {
	// Put stores a record if its revision is still the given one (0: if there is none), and returns the new one; ErrStale
	// otherwise.
	Put(ctx context.Context, r *Record, was uint64) (revision uint64, err error)
	// List returns all records and their revisions.
	List(ctx context.Context) (map[Key]Stored, error)
}

// Stored is a record as Store.List returns it.
type Stored struct {
	*Record
	Revision uint64
}

// ARN is the ARN of the layer.
func (r *Record) ARN() string {
	return "arn:" + r.Partition + ":lambda:" + r.Region + ":" + r.Account + ":layer:" + r.Name
}

// VersionARN is the ARN of one of its versions.
func (r *Record) VersionARN(n int) string { return r.ARN() + ":" + strconv.Itoa(n) }

// Find returns a version; nil when there is none.
func (r *Record) Find(n int) *Version {
	i, ok := slices.BinarySearchFunc(r.Versions, n, func(v Version, n int) int { return v.Number - n })
	if !ok {
		return nil
	}
	return &r.Versions[i]
}

// For says whether a version is for a runtime and an architecture; empty ones ask nothing. A version that says nothing
// about them is found by no filter.
func (v *Version) For(runtime, architecture string) bool {
	return (runtime == "" || slices.Contains(v.Runtimes, runtime)) && (architecture == "" || slices.Contains(v.Architectures, architecture))
}

// Reference is a layer, or a version of one, as somebody wrote it: a name, or an ARN with or without a number behind it.
type Reference struct {
	Partition, Region, Account string // empty: by name
	Name                       string
	Number                     int // 0: none
}

// Parse takes a name or an ARN apart; ok says whether it is one.
func Parse(s string) (r Reference, ok bool) {
	if !strings.HasPrefix(s, "arn:") {
		return Reference{Name: s}, validName(s)
	}
	p := strings.Split(s, ":")
	if len(p) != 7 && len(p) != 8 || p[2] != "lambda" || p[5] != "layer" || p[1] == "" || p[3] == "" || len(p[4]) != 12 ||
		strings.Trim(p[4], "0123456789") != "" || !validName(p[6]) {
		return Reference{}, false
	}
	r = Reference{Partition: p[1], Region: p[3], Account: p[4], Name: p[6]}
	if len(p) == 8 {
		n, err := strconv.ParseUint(p[7], 10, 31)
		if err != nil || p[7] == "" {
			return Reference{}, false
		}
		r.Number = int(n)
	}
	return r, true
}

func validName(s string) bool {
	return s != "" && len(s) <= 140 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}
