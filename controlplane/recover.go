package controlplane

import (
	"context"
	"errors"
	"time"

	"thaw/function"
	"thaw/runtimes"
)

// invalidRuntime is the reason code of what failed for want of a runtime.
const invalidRuntime = "InvalidRuntime"

// provideUsed makes the runtimes of all functions that serve ready: a data folder may come from an earlier release, or
// from another machine. What cannot be had is logged; the invocations that need it say so.
func (p *Plane) provideUsed() {
	type used struct{ runtime, architecture string }
	seen := map[used]bool{}
	for _, e := range p.view.All() {
		for _, v := range versionsOf(e) {
			u := used{v.Config.Runtime, v.Config.Architecture}
			if seen[u] || !v.Life.Serves() {
				continue
			}
			seen[u] = true
			if err := p.Runtimes.Provide(p.ctx, u.runtime, u.architecture); err != nil && p.ctx.Err() == nil {
				p.Log.Warn("functions of a runtime cannot run", "runtime", u.runtime, "fn", e.Record.Name, "error", err)
			}
		}
	}
}

// recoverRuntimes has what failed for want of a runtime settled once more when that is there, or is worth another
// attempt: somebody may have installed it, or the network may be back. It settles what nobody settles, too: a write may
// have been made though its sender was told of an error, when the disk was full. It ends with the server.
func (p *Plane) recoverRuntimes() {
	tick := time.NewTicker(p.Recovery)
	defer tick.Stop()
	for {
		for _, e := range p.view.All() {
			p.settleSoon(e.Record.Key)
			for _, v := range versionsOf(e) {
				if v.ReasonCode != invalidRuntime || v.Life != function.Failed && v.Life != function.UpdateFailed ||
					!p.Runtimes.Recoverable(v.Config.Runtime, v.Config.Architecture) {
					continue
				}
				if err := p.revive(e.Record, v); err != nil && p.ctx.Err() == nil {
					p.Log.Error("function whose runtime is there stays failed, will try again", "fn", e.Record.Name, "qualifier", v.Number, "error", err)
				}
			}
		}
		select {
		case <-tick.C:
		case <-p.ctx.Done():
			return
		}
	}
}

// versionsOf are $LATEST and the published versions of a function.
func versionsOf(e *function.Entry) []*function.VersionRecord {
	return append([]*function.VersionRecord{&e.Record.Latest}, e.Versions()...)
}

// revive applies CauseGone to a version that failed, if it is still what it was, and has it settled.
func (p *Plane) revive(r *function.Record, v *function.VersionRecord) error {
	if v.Number != function.Latest {
		_, err := p.moveVersion(p.ctx, r, v.Number.Int(), function.CauseGone)
		p.settleSoon(r.Key)
		return err
	}
	err := p.exclusive(r.Key, func() error {
		_, err := p.change(p.ctx, r.Key, func(_ *function.Entry, n *function.Record) error {
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
		p.Log.Info("function is prepared again", "fn", r.Name, "runtime", v.Config.Runtime)
		p.settleSoon(r.Key)
	}
	return err
}

// provide waits for the runtime of a version whose runtime is gone (an upgrade of the host took it, say), where another
// can be had, and says whether it is there. It is fetched for all who want it, and also when this caller no longer
// waits.
func (p *Plane) provide(ctx context.Context, v *function.Version, err error) bool {
	if !errors.As(err, new(*runtimes.NotInstalledError)) || !p.Runtimes.Recoverable(v.Runtime, v.Architecture) {
		return false
	}
	done := make(chan error, 1)
	p.work.Go(func() { done <- p.Runtimes.Provide(p.ctx, v.Runtime, v.Architecture) })
	timer := time.NewTimer(p.FetchInvoke)
	defer timer.Stop()
	select {
	case err := <-done:
		return err == nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
