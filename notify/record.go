// Package notify takes notifications of S3: from servers of objects, which send them by HTTP, and from folders of this
// host, which it watches itself.
//
//	webhook -> token -> trigger.ParseS3 -> filter -> not seen before -> the durable queue -> 200
//	folder  -> inotify, or what a look at all files finds ----------^                    -> written down as told
//
// What is acknowledged is on disk. A notification can come to the function more than once, as on the service: after a
// crash, what was accepted and not acknowledged comes again.
package notify

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"thaw/function"
	"thaw/trigger"
)

// Kind is where notifications come from.
type Kind string

// The kinds.
const (
	Webhook Kind = "s3"
	Folder  Kind = "folder"
)

// Trigger is a record of the service: members may be added, never renamed.
type Trigger struct {
	Name     string
	Kind     Kind
	Function function.ARN
	Created  time.Time
	Filter   trigger.S3Filter
	Token    string `json:",omitempty"` // SHA-256 of a webhook's, hexadecimal
	Dir      string `json:",omitempty"` // absolute, of a folder
	Bucket   string `json:",omitempty"` // that events of a folder name
	// Existing: files that lay in the folder when the trigger was made are told, too.
	Existing bool `json:",omitempty"`
}

// Settings are what a trigger is made of.
type Settings struct {
	Filter   trigger.S3Filter
	Dir      string `json:",omitempty"`
	Bucket   string `json:",omitempty"`
	Existing bool   `json:",omitempty"`
}

// ErrExists refuses a second trigger of a name.
var ErrExists = errors.New("there is a trigger of this name: thaw trigger ls")

var (
	nameRE   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	bucketRE = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// check says what is wrong with a trigger that is to be made.
func (t *Trigger) check() error {
	if !nameRE.MatchString(t.Name) {
		return fmt.Errorf("%q is no name of a trigger: letters, digits, dots, hyphens and underscores are", t.Name)
	}
	if err := t.Filter.Check(); err != nil {
		return err
	}
	switch t.Kind {
	case Webhook:
		return nil
	case Folder:
		if !filepath.IsAbs(t.Dir) {
			return fmt.Errorf("%q is no absolute path of a folder", t.Dir)
		}
		if !bucketRE.MatchString(t.Bucket) {
			return fmt.Errorf("%q is no name of a bucket: --bucket gives the folder another", t.Bucket)
		}
		return nil
	}
	return fmt.Errorf("%q is no kind of trigger that is made here", t.Kind)
}

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// knows says whether a token is the trigger's.
func (t *Trigger) knows(token string) bool {
	return subtle.ConstantTimeCompare([]byte(hashed(token)), []byte(t.Token)) == 1
}
