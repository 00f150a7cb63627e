package api

import (
	"errors"
	"net/http"

	"thaw/function"
)

// PublishVersion: POST /2015-03-31/functions/{FunctionName}/versions -> 201.
//
// Supported: CodeSha256, Description, RevisionId; a publish without a change since the last one answers that version.
// Missing: PublishTo (capacity providers).
func (c *call) publishVersion() error {
	var in struct {
		CodeSha256  *string
		Description *string
		RevisionId  *string
		PublishTo   *string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	ref, _ := c.checkTarget(&v, writeNames, c.label)
	v.text("description", in.Description, 0, 256, nil, "")
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	ctx, cancel := c.s.writing(c.r.Context())
	defer cancel()
	var e *function.Entry
	var published *function.VersionRecord
	err = c.s.exclusive(t.key, func() error {
		e, err = c.s.change(ctx, t.key, func(now *function.Entry, r *function.Record) error {
			if err := checkRevision(in.RevisionId, r); err != nil {
				return err
			}
			if in.PublishTo != nil {
				return invalidParameter("PublishTo is supported for functions with a capacity provider only.")
			}
			if current := base64Hash(r.Latest.Config.CodeSHA256); in.CodeSha256 != nil && *in.CodeSha256 != "" && *in.CodeSha256 != current {
				return invalidParameter("CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", *in.CodeSha256, current)
			}
			if _, err := r.Latest.Life.Next(function.PublishAsked); err != nil {
				return updateInProgress(r.ARN())
			}
			if last := lastVersion(now); last != nil && sameSource(last, &r.Latest) {
				e, published = now, last
				return errUnchanged
			}
			published, err = c.s.addVersion(ctx, r, in.Description, c.s.publishedLife(&r.Latest.Config))
			r.Latest.RevisionID = newRevisionID()
			return err
		})
		return err
	})
	switch {
	case errors.Is(err, errUnchanged):
		e = c.s.view.Get(t.key)
		if e == nil {
			return notFound(t.arn())
		}
	case errors.Is(err, function.ErrNotFound):
		return notFound(t.arn())
	case err != nil:
		return err
	}
	c.s.settleSoon(t.key)
	return c.json(http.StatusCreated, described(e.Record, published, e.Record.ARN().Version(published.Number)))
}

var errUnchanged = errors.New("nothing changed since the last version")

func lastVersion(e *function.Entry) *function.VersionRecord {
	all := e.Versions()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// sameSource says whether publishing latest would make a version like the given one. The description that a publish gave does not count.
func sameSource(v, latest *function.VersionRecord) bool {
	was := v.Config.Clone()
	was.Description = v.SourceDescription
	return was.Equal(&latest.Config)
}
