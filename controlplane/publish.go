package controlplane

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"

	"thaw/function"
)

// Publication is what a caller may say about a version to publish. Empty members were not said.
type Publication struct {
	CodeSHA256  string // base64, as the service shows it: $LATEST must have this code
	Description *string
	RevisionID  string // $LATEST must have this one
}

// errUnchanged says that $LATEST is what the last version was made of.
var errUnchanged = errors.New("nothing changed since the last version")

// Publish makes a version of $LATEST, or returns the last version when that was made of the same.
func (p *Plane) Publish(ctx context.Context, k function.Key, what Publication) (e *function.Entry, published *function.VersionRecord, err error) {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	e, err = p.Change(ctx, k, func(now *function.Entry, r *function.Record) error {
		if err := CheckRevision(what.RevisionID, r.Latest.RevisionID); err != nil {
			return err
		}
		if current := base64Hash(r.Latest.Config.CodeSHA256); what.CodeSHA256 != "" && what.CodeSHA256 != current {
			return invalid("CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", what.CodeSHA256, current)
		}
		if _, err := r.Latest.Life.Next(function.PublishAsked); err != nil {
			return updateInProgress(r.ARN())
		}
		if last := lastVersion(now); last != nil && sameSource(last, &r.Latest) {
			published = last
			return errUnchanged
		}
		var err error
		published, err = p.addVersion(ctx, r, what.Description, p.publishedLife(&r.Latest.Config))
		r.Latest.RevisionID = newRevisionID()
		return err
	})
	if errors.Is(err, errUnchanged) {
		if e = p.view.Get(k); e == nil {
			return nil, nil, function.ErrNotFound
		}
		err = nil
	}
	if err != nil {
		return nil, nil, err
	}
	p.settleSoon(k)
	return e, published, nil
}

func base64Hash(hexHash string) string {
	b, err := hex.DecodeString(hexHash)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

func lastVersion(e *function.Entry) *function.VersionRecord {
	all := e.Versions()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// sameSource says whether publishing latest would make a version like the given one. The description that a publish
// gave does not count.
func sameSource(v, latest *function.VersionRecord) bool {
	was := v.Config.Clone()
	was.Description = v.SourceDescription
	return was.Equal(&latest.Config)
}

// addVersion publishes what $LATEST is as the next version, within a change of r: the version's record is written
// first, and counts as soon as r, which lists it, is.
func (p *Plane) addVersion(ctx context.Context, r *function.Record, description *string, life function.Life) (*function.VersionRecord, error) {
	v := &function.VersionRecord{
		Config: r.Latest.Config.Clone(), Life: life,
		RevisionID: newRevisionID(), Modified: p.Now(), SourceDescription: r.Latest.Config.Description,
	}
	if description != nil {
		v.Config.Description = *description
	}
	for {
		n := r.NextNumber
		r.NextNumber++
		v.Number = function.NumberOf(n)
		err := p.Store.PutVersion(ctx, r.Key, r.Incarnation, v)
		if errors.Is(err, function.ErrStale) {
			continue // taken by somebody who was not the quickest to list it: the next start removes it
		}
		if err != nil {
			return nil, err
		}
		r.Numbers = append(r.Numbers, n)
		return v, nil
	}
}

// publishedLife is where a version starts that is published from a $LATEST that serves: with SnapStart it is Creating
// until settle has had its snapshot made.
func (p *Plane) publishedLife(c *function.Config) function.Life {
	if c.SnapStart && p.Snapshots != nil {
		return function.Creating
	}
	return function.Live
}
