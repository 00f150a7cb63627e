package api

import (
	"context"
	"errors"
	"time"

	"thaw/function"
)

// invalidRuntime is the reason code of what failed for want of a runtime.
const invalidRuntime = "InvalidRuntime"

// provideUsed makes the runtimes of all functions that serve ready: a data folder may come from an earlier release, or
// from another machine. What cannot be had is logged; the invocations that need it say so.
func (s *Server) provideUsed() {
	type used struct{ runtime, architecture string }
	seen := map[used]bool{}
	for _, e := range s.view.All() {
		for _, v := range versionsOf(e) {
			u := used{v.Config.Runtime, v.Config.Architecture}
			if seen[u] || !v.Life.Serves() {
				continue
			}
			seen[u] = true
			if err := s.Runtimes.Provide(s.ctx, u.runtime, u.architecture); err != nil && s.ctx.Err() == nil {
				s.Log.Warn("functions of a runtime cannot run", "runtime", u.runtime, "fn", e.Record.Name, "error", err)
			}
		}
	}
}

// recoverRuntimes has what failed for want of a runtime settled once more when that is there, or is worth another
// attempt: somebody may have installed it, or the network may be back. It ends with the server.
func (s *Server) recoverRuntimes() {
	tick := time.NewTicker(s.Recovery)
	defer tick.Stop()
	for {
		for _, e := range s.view.All() {
			for _, v := range versionsOf(e) {
				if v.ReasonCode != invalidRuntime || v.Life != function.Failed && v.Life != function.UpdateFailed ||
					!s.Runtimes.Recoverable(v.Config.Runtime, v.Config.Architecture) {
					continue
				}
				if err := s.revive(e.Record, v); err != nil && s.ctx.Err() == nil {
					s.Log.Error("function whose runtime is there stays failed, will try again", "fn", e.Record.Name, "qualifier", v.Number, "error", err)
				}
			}
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// versionsOf are $LATEST and the published versions of a function.
func versionsOf(e *function.Entry) []*function.VersionRecord {
	return append([]*function.VersionRecord{&e.Record.Latest}, e.Versions()...)
}

// revive applies CauseGone to a version that failed, if it is still what it was, and has it settled.
func (s *Server) revive(r *function.Record, v *function.VersionRecord) error {
	if v.Number != function.Latest {
		_, err := s.moveVersion(s.ctx, r, v.Number.Int(), function.CauseGone)
		s.settleSoon(r.Key)
		return err
	}
	err := s.exclusive(r.Key, func() error {
		_, err := s.change(s.ctx, r.Key, func(_ *function.Entry, n *function.Record) error {
			if n.Incarnation != r.Incarnation || n.Latest.RevisionID != v.RevisionID {
				return errOvertaken
			}
			life, err := n.Latest.Life.Next(function.CauseGone)
			if err != nil {
				return err
			}
			n.Latest.Life, n.Latest.Reason, n.Latest.ReasonCode, n.Latest.RevisionID = life, "", "", newRevisionID()
			return nil
		})
		return err
	})
	if errors.Is(err, errOvertaken) || errors.Is(err, function.ErrNotFound) || errors.Is(err, context.Canceled) {
		return nil
	}
	if err == nil {
		s.Log.Info("function is prepared again", "fn", r.Name, "runtime", v.Config.Runtime)
		s.settleSoon(r.Key)
	}
	return err
}

// explain says what a version waits for, where that is a runtime on its way.
func (s *Server) explain(v *function.VersionRecord, out *functionConfiguration) *functionConfiguration {
	if !v.Life.Settling() {
		return out
	}
	fetching := s.Runtimes.Fetching(v.Config.Runtime)
	switch {
	case fetching == "":
	case out.State == "Pending":
		out.StateReason += " " + fetching + "."
		fallthrough
	case out.LastUpdateStatus == "InProgress":
		if out.LastUpdateStatusReason != "" {
			out.LastUpdateStatusReason += " " + fetching + "."
		}
	}
	return out
}
