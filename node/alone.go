package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/snapstart"
)

// alone makes environments that serve nobody: for snapstart.
type alone struct{ n *Node }

// Identity implements snapstart.Environments.
func (a alone) Identity(v *function.Version) (runtime, sandbox string, err error) {
	plan, err := a.n.starter.plan(v)
	if err != nil {
		return "", "", err
	}
	b := a.n.backend
	return plan.Identity, b.Name() + " " + b.Capabilities().SnapshotKey, nil
}

// Code implements snapstart.Environments.
func (a alone) Code(ctx context.Context, v *function.Version) (dir string, release func(), err error) {
	return a.n.starter.code.Dir(ctx, v)
}

// Save implements snapstart.Environments.
func (a alone) Save(ctx context.Context, v *function.Version, m execenv.Make, secret []byte) (made execenv.Made, err error) {
	plan, err := a.n.starter.plan(v)
	if err != nil {
		return made, err
	}
	failed := errors.New("the environment ended")
	m.Done = func(what execenv.Made, err error) { made, failed = what, err }
	owner := newLone()
	env, err := a.n.starter.open(ctx, v, owner, func(o *execenv.Options) {
		o.Make = &m
		// With what makes each copy's random values its own, and what makes this snapshot like the function's others.
		o.Launch.Argv = plan.CommandSnapStart(v.MemoryMiB, v.Handler, "", secret)
		o.Launch.Vars = plan.VarsSnapStart(secret)
	})
	if err != nil {
		return made, err
	}
	select {
	case <-owner.gone:
	case <-ctx.Done():
		env.Stop("given up")
		<-owner.gone
		return made, context.Cause(ctx)
	}
	return made, failed
}

// Copy implements snapstart.Environments.
func (a alone) Copy(ctx context.Context, v *function.Version, r *execenv.Restore, release func()) (snapstart.Copy, error) {
	owner := newLone()
	env, err := a.n.starter.open(ctx, v, owner, func(o *execenv.Options) {
		o.Restore = r
		exit := o.OnExit
		o.OnExit = func() { exit(); release() }
	})
	if err != nil {
		release()
		return nil, err
	}
	select {
	case <-owner.offered:
		return &loneCopy{n: a.n, v: v, owner: owner, env: env}, nil
	case err := <-owner.gone:
		if err == nil {
			err = errors.New("the restored environment ended")
		}
		return nil, err
	case <-ctx.Done():
		env.Stop("given up")
		<-owner.gone
		return nil, context.Cause(ctx)
	}
}

// loneCopy is a snapstart.Copy.
type loneCopy struct {
	n     *Node
	v     *function.Version
	owner *lone
	env   *execenv.Environment
}

func (c *loneCopy) ID() string        { return string(c.env.ID()) }
func (c *loneCopy) LogStream() string { return c.env.Status().LogStream }

func (c *loneCopy) Expires() time.Time {
	_, expires := c.env.Snapshot()
	return expires
}

func (c *loneCopy) Invoke(ctx context.Context, i *function.Invocation) (function.Outcome, error) {
	select {
	case o := <-c.env.Invoke(i):
		return o, o.Err
	case <-ctx.Done():
		return function.Outcome{}, fmt.Errorf("invoke in %s: %w", c.env.ID(), context.Cause(ctx))
	}
}

func (c *loneCopy) Adopt() bool {
	if c.n.pool == nil {
		return false
	}
	kept := c.owner.give(func() execenv.Owner { return c.n.pool.Adopt(c.v, c.env) })
	if kept {
		c.n.metrics.restores.Inc()
	}
	return kept
}

func (c *loneCopy) End(reason string) {
	c.env.Stop(reason)
	<-c.owner.gone
}

// lone is the owner of an environment that serves nobody, until another one takes it.
type lone struct {
	offered chan *execenv.Environment // buffered
	gone    chan error                // buffered

	mu    sync.Mutex
	ended bool          // it was withdrawn, or is gone
	next  execenv.Owner // who hears the rest
}

func newLone() *lone {
	return &lone{offered: make(chan *execenv.Environment, 1), gone: make(chan error, 1)}
}

// Opened implements execenv.Owner.
func (l *lone) Opened(*execenv.Environment) {}

// Offered implements execenv.Owner.
func (l *lone) Offered(e *execenv.Environment) {
	if next := l.after(false); next != nil {
		next.Offered(e)
		return
	}
	select {
	case l.offered <- e:
	default: // after a reset once more
	}
}

// Withdrawn implements execenv.Owner.
func (l *lone) Withdrawn(e *execenv.Environment) {
	if next := l.after(true); next != nil {
		next.Withdrawn(e)
	}
}

// Gone implements execenv.Owner.
func (l *lone) Gone(e *execenv.Environment, err error) {
	if next := l.after(true); next != nil {
		next.Gone(e, err)
	}
	l.gone <- err
}

func (l *lone) after(ended bool) execenv.Owner {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = l.ended || ended
	return l.next
}

// give makes what to returns the owner, if the environment is as it was offered. It says whether it did.
func (l *lone) give(to func() execenv.Owner) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.next != nil {
		return false
	}
	l.next = to()
	return l.next != nil
}

// servingPool is the pool as snapstart knows it: there is none while the server opens.
type servingPool struct{ n *Node }

// Outdate implements snapstart.Pool.
func (p servingPool) Outdate(unqualified function.ARN, number function.VersionNumber, keep string) {
	if p.n.pool != nil {
		p.n.pool.Outdate(unqualified, number, keep)
	}
}

// Restored implements snapstart.Pool.
func (p servingPool) Restored() map[string]int {
	envs := map[string]int{}
	if p.n.pool != nil {
		for _, e := range p.n.pool.Environments() {
			envs[e.Snapshot]++
		}
	}
	return envs
}

// Provisioned implements snapstart.Pool.
func (p servingPool) Provisioned(v *function.Version) bool {
	return p.n.pool != nil && p.n.pool.Provisioned(v).Requested > 0
}
