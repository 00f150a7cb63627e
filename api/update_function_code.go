package api

import (
	"context"
	"errors"
	"net/http"

	"thaw/function"
)

// UpdateFunctionCode: PUT /2015-03-31/functions/{FunctionName}/code -> 200.
//
// Supported: zip inline, Publish, DryRun, RevisionId, Architectures.
// Missing (501): code in S3, images, PublishTo.
func (c *call) updateFunctionCode() error {
	var in struct {
		codeInput
		Publish       bool
		DryRun        bool
		RevisionId    *string
		Architectures []string
		PublishTo     *string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	ref, _ := c.checkTarget(&v, writeNames, c.label)
	v.architectures(in.Architectures)
	v.oneOf("publishTo", in.PublishTo, "LATEST_PUBLISHED")
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return notFound(t.arn())
	}
	if err := checkRevision(in.RevisionId, e.Record); err != nil {
		return err
	}
	if in.ImageUri != nil {
		return invalidParameter("Please don't provide ImageUri when updating a function with packageType Zip.")
	}
	if in.PublishTo != nil {
		return invalidParameter("PublishTo is supported for functions with a capacity provider only.")
	}
	code := in.codeInput
	var taken function.Config
	release, err := c.takeCode(&code, &taken)
	if err != nil {
		return err
	}
	defer release()
	edit := func(config *function.Config) error {
		config.CodeSHA256, config.CodeSize = taken.CodeSHA256, taken.CodeSize
		if len(in.Architectures) > 0 {
			config.Architecture = in.Architectures[0]
		}
		return nil
	}
	if in.DryRun {
		r := e.Record.Clone()
		if err := edit(&r.Latest.Config); err != nil {
			return err
		}
		return c.json(http.StatusOK, described(r, &r.Latest, r.ARN()))
	}
	e, published, err := c.s.update(c.r.Context(), t, in.RevisionId, in.Publish, edit)
	if err != nil {
		return err
	}
	if published != nil {
		return c.json(http.StatusOK, described(e.Record, published, e.Record.ARN().Version(published.Number)))
	}
	return c.json(http.StatusOK, described(e.Record, &e.Record.Latest, e.Record.ARN()))
}

// resolveFunction is resolve for operations that take no version.
func (c *call) resolveFunction(ref function.Reference) (target, error) {
	t, err := c.resolve(ref, "")
	if err == nil && t.qualifier != "" {
		err = invalidParameter(functionsOnly)
	}
	return t, err
}

func checkRevision(want *string, r *function.Record) error {
	if want != nil && *want != "" && *want != r.Latest.RevisionID {
		return errStaleRevision
	}
	return nil
}

// update changes $LATEST: what serves goes on serving until the change is settled. With publish it also makes the next version of it.
func (s *Server) update(ctx context.Context, t target, revision *string, publish bool, edit func(*function.Config) error) (*function.Entry, *function.VersionRecord, error) {
	wctx, cancel := s.writing(ctx)
	defer cancel()
	var e *function.Entry
	var published *function.VersionRecord
	err := s.exclusive(t.key, func() error {
		if s.view.Get(t.key) == nil {
			return function.ErrNotFound
		}
		epoch, err := s.Store.Epoch(wctx)
		if err != nil {
			return err
		}
		e, err = s.change(wctx, t.key, func(_ *function.Entry, r *function.Record) error {
			if err := checkRevision(revision, r); err != nil {
				return err
			}
			before := r.Latest.Config.Clone()
			if err := edit(&r.Latest.Config); err != nil {
				return err
			}
			life, err := r.Latest.Life.Next(function.UpdateAsked)
			if err != nil {
				return updateInProgress(r.ARN())
			}
			if r.Before == nil && r.Latest.Life == function.Live {
				r.Before = &function.Served{Config: before, Epoch: r.Epoch}
			}
			r.Latest.Life, r.Latest.Reason, r.Latest.ReasonCode = life, "", ""
			r.Latest.RevisionID, r.Latest.Modified, r.Epoch = newRevisionID(), s.Now(), epoch
			if publish {
				published, err = s.addVersion(wctx, r, nil, function.Creating)
			}
			return err
		})
		return err
	})
	if errors.Is(err, function.ErrNotFound) {
		return nil, nil, notFound(t.arn())
	}
	if err != nil {
		return nil, nil, err
	}
	s.settleSoon(t.key)
	return e, published, nil
}
