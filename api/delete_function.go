package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"thaw/function"
)

// DeleteFunction: DELETE /2015-03-31/functions/{FunctionName}?Qualifier= -> 204.
//
// Supported: the function with all that belongs to it, or one version.
// Differs: environments finish the invocation they are in. Missing: nothing that exists here yet.
func (c *call) deleteFunction() error {
	t, err := c.target(readNames)
	if err != nil {
		return err
	}
	switch t.qualifier.Kind() {
	case function.QualifierAlias:
		return invalidParameter("Deletion of aliases is not currently supported.")
	case function.QualifierNothing:
		return notFound(t.arn())
	case function.QualifierLatest:
		if t.qualifier != "" {
			return invalidParameter("$LATEST version cannot be deleted without deleting the function.")
		}
		err = c.s.deleteAll(c.r.Context(), t)
	case function.QualifierNumber:
		err = c.s.deleteVersion(c.r.Context(), t)
	}
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.arn())
	}
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (s *Server) deleteAll(ctx context.Context, t target) error {
	ctx, cancel := s.writing(ctx)
	defer cancel()
	if s.view.Get(t.key) == nil {
		return function.ErrNotFound
	}
	epoch, err := s.Store.Epoch(ctx) // every environment of the function is older
	if err != nil {
		return err
	}
	var gone *function.Entry
	err = s.exclusive(t.key, func() error {
		for {
			gone = s.view.Get(t.key)
			if gone == nil {
				return function.ErrNotFound
			}
			r := *gone.Record
			err := s.Store.Delete(ctx, &r)
			if errors.Is(err, function.ErrStale) {
				select {
				case <-gone.Replaced():
					continue
				case <-ctx.Done():
					return fmt.Errorf("deletion of %s: %w", t.key.Name, context.Cause(ctx))
				}
			}
			if err != nil {
				return err
			}
			return s.view.Wait(ctx, r.Revision)
		}
	})
	if err != nil {
		return err
	}
	s.Pool.Retire(gone.Record.ARN(), "", epoch)
	if s.Snapshots != nil {
		s.Snapshots.Forget(ctx, gone.Record.ARN(), gone.Record.Incarnation, "")
	}
	// The function is gone for everybody. What follows is tidying, which a start would do as well.
	for _, n := range gone.Record.Numbers {
		if err := s.Store.DeleteVersion(ctx, t.key, gone.Record.Incarnation, n); err != nil {
			s.Log.Warn("version of a deleted function stays until the next start", "fn", t.key.Name, "qualifier", n, "error", err)
		}
	}
	var codes []string
	gone.Codes(func(h string) { codes = append(codes, h) })
	s.forgetCode(ctx, codes...)
	return nil
}

// deleteVersion removes one version. A number that the function does not have is no error.
func (s *Server) deleteVersion(ctx context.Context, t target) error {
	ctx, cancel := s.writing(ctx)
	defer cancel()
	n := t.qualifier.Number()
	var was *function.VersionRecord
	var r *function.Record
	err := s.exclusive(t.key, func() error {
		e := s.view.Get(t.key)
		if e == nil {
			return function.ErrNotFound
		}
		if was = e.Version(n); was == nil {
			return nil
		}
		e, err := s.change(ctx, t.key, func(_ *function.Entry, r *function.Record) error {
			r.Numbers = slices.DeleteFunc(r.Numbers, func(m int) bool { return m == n })
			delete(r.Provisioned, t.qualifier)
			return nil
		})
		if err == nil {
			r = e.Record
		}
		return err
	})
	if err != nil || r == nil {
		return err
	}
	s.Pool.Retire(r.ARN(), function.NumberOf(n), r.Incarnation+1)
	if s.Snapshots != nil {
		s.Snapshots.Forget(ctx, r.ARN(), r.Incarnation, function.NumberOf(n))
	}
	if err := s.Store.DeleteVersion(ctx, t.key, r.Incarnation, n); err != nil {
		s.Log.Warn("deleted version stays until the next start", "fn", t.key.Name, "qualifier", n, "error", err)
	}
	s.forgetCode(ctx, was.Config.CodeSHA256)
	return nil
}
