package api

import (
	"context"
	"errors"
	"time"

	"thaw/blob"
	"thaw/codepackage"
	"thaw/function"
)

// settleSoon has a function settled, if it needs to be, by a goroutine of its own. There is at most one per function; it looks again
// before it ends, so a call meanwhile is not lost.
func (s *Server) settleSoon(k function.Key) {
	s.settleMu.Lock()
	defer s.settleMu.Unlock()
	if s.settling[k] || s.ctx.Err() != nil || !unsettled(s.view.Get(k)) {
		return
	}
	s.settling[k] = true
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		for {
			e := s.view.Get(k)
			if !unsettled(e) || s.ctx.Err() != nil {
				s.settleMu.Lock()
				again := unsettled(s.view.Get(k)) && s.ctx.Err() == nil
				if !again {
					delete(s.settling, k)
				}
				s.settleMu.Unlock()
				if !again {
					return
				}
				continue
			}
			err := s.settle(s.ctx, e)
			if errors.Is(err, function.ErrNotFound) {
				continue // what it was settling was deleted, as the view says by now
			}
			if err != nil && s.ctx.Err() == nil {
				s.Log.Error("function cannot be settled, will try again", "fn", k.Name, "error", err)
				select {
				case <-time.After(time.Second):
				case <-s.ctx.Done():
				}
			}
		}
	}()
}

func unsettled(e *function.Entry) bool {
	if e == nil {
		return false
	}
	if e.Record.Latest.Life.Settling() {
		return true
	}
	for _, v := range e.Versions() {
		if v.Life.Settling() {
			return true
		}
	}
	return false
}

// settle prepares everything of a function that is unsettled and writes how that went. An error means that it could not be written.
func (s *Server) settle(ctx context.Context, e *function.Entry) error {
	r := e.Record
	visible := time.NewTimer(s.Settle) // so that a client that looks at once sees the change in progress
	defer visible.Stop()
	type outcome struct {
		event        function.LifeEvent
		reason, code string
		optimized    bool
	}
	prepare := func(v *function.VersionRecord) (outcome, error) {
		reason, code, err := s.prepare(ctx, r, v)
		if code != "" {
			return outcome{event: function.SettleFailed, reason: reason, code: code}, nil
		}
		return outcome{event: function.Settled, optimized: v.Config.SnapStart && v.Number != function.Latest && s.Snapshots != nil}, err
	}
	var latest outcome
	var err error
	if r.Latest.Life.Settling() {
		if latest, err = prepare(&r.Latest); err != nil {
			return err
		}
	}
	versions := map[function.VersionNumber]outcome{}
	for _, v := range e.Versions() {
		if v.Life.Settling() {
			if versions[v.Number], err = prepare(v); err != nil {
				return err
			}
		}
	}
	select {
	case <-visible.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	err = s.exclusive(r.Key, func() error {
		wctx, cancel := s.writing(ctx)
		defer cancel()
		now := s.view.Get(r.Key)
		if now == nil || now.Record.Incarnation != r.Incarnation {
			return nil // deleted meanwhile
		}
		// Versions first: who sees the function settled must find its new version settled too.
		for _, v := range now.Versions() {
			o, ok := versions[v.Number]
			if !ok || !v.Life.Settling() {
				continue
			}
			next := *v
			if next.Life, err = v.Life.Next(o.event); err != nil {
				return err
			}
			next.Reason, next.ReasonCode, next.RevisionID, next.Optimized = o.reason, o.code, newRevisionID(), o.optimized
			if err := s.Store.PutVersion(wctx, r.Key, r.Incarnation, &next); err != nil {
				return err
			}
			if err := s.view.Wait(wctx, next.Revision); err != nil {
				return err
			}
		}
		if !r.Latest.Life.Settling() {
			return nil
		}
		_, err := s.change(ctx, r.Key, func(_ *function.Entry, n *function.Record) error {
			if n.Incarnation != r.Incarnation || n.Latest.RevisionID != r.Latest.RevisionID {
				return errOvertaken
			}
			life, err := n.Latest.Life.Next(latest.event)
			if err != nil {
				return err
			}
			n.Latest.Life, n.Latest.Reason, n.Latest.ReasonCode, n.Latest.RevisionID = life, latest.reason, latest.code, newRevisionID()
			if life == function.Live {
				n.Before = nil
			}
			return nil
		})
		if errors.Is(err, errOvertaken) || errors.Is(err, function.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	s.Log.Info("function settled", "fn", r.Name, "from", r.Latest.Life.String(), "event", latest.event.String(), "code", latest.code)
	if r.Before != nil {
		if latest.event == function.Settled {
			s.Pool.Retire(r.ARN(), function.Latest, r.Epoch)
		}
		s.forgetCode(ctx, r.Before.Config.CodeSHA256)
	}
	return nil
}

var errOvertaken = errors.New("changed while it was settled")

// prepare does for a version what every environment of it will need: its code unpacked, its runtime there. A code says that it failed and
// waiting does not help; an error that it should be tried again.
func (s *Server) prepare(ctx context.Context, r *function.Record, v *function.VersionRecord) (reason, code string, err error) {
	switch err := s.Runtimes.Provide(ctx, v.Config.Runtime, v.Config.Architecture); {
	case err != nil && ctx.Err() != nil:
		return "", "", err
	case err != nil:
		return err.Error(), invalidRuntime, nil
	}
	_, release, err := s.Codes.Dir(ctx, &function.Version{Name: r.Name, Number: v.Number, Package: v.Config.Package})
	var invalid *codepackage.InvalidError
	switch {
	case err == nil:
		release()
		if v.Config.SnapStart && v.Number != function.Latest && s.Snapshots != nil {
			return s.Snapshots.Make(ctx, r.Prepared(v), r.Tags)
		}
		return "", "", nil
	case errors.As(err, &invalid), errors.Is(err, codepackage.ErrTooLarge), errors.Is(err, codepackage.ErrEmpty):
		return err.Error(), "InvalidZipFileException", nil
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, blob.ErrDamaged):
		return "The code of the function is lost: " + err.Error(), "InternalError", nil
	}
	return "", "", err
}

// SnapStarted calls f with every published version that has SnapStart and serves, and its function's tags.
func (s *Server) SnapStarted(f func(v *function.Version, tags map[string]string)) {
	for _, e := range s.view.All() {
		for _, v := range e.Versions() {
			if served := e.Serving(v.Number); served != nil && served.SnapStart {
				f(served, e.Record.Tags)
			}
		}
	}
}
