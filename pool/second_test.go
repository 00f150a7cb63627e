package pool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/pool"
)

// fallingBack makes environments whose restore fails, and in their place, for the same owner, ones that run Init: as
// the real starter does.
type fallingBack struct {
	starter
	hold   chan struct{} // closed: the Init may begin; nil: at once
	failed chan struct{} // closed when a restore has failed
	begun  chan struct{} // closed when an Init has begun
}

func newFallingBack(held bool) *fallingBack {
	s := &fallingBack{failed: make(chan struct{}), begun: make(chan struct{})}
	if held {
		s.hold = make(chan struct{})
	}
	return s
}

func (s *fallingBack) Open(_ context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	s.opened.Add(1)
	return s.restore(v, &failing{Owner: owner, s: s, v: v}), nil
}

func (s *fallingBack) Provision(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	return s.Open(ctx, v, owner)
}

type failing struct {
	execenv.Owner
	s *fallingBack
	v *function.Version
}

func (f *failing) Gone(e *execenv.Environment, err error) {
	close(f.s.failed)
	go func() {
		if f.s.hold != nil {
			<-f.s.hold
		}
		f.s.open(f.v, f.Owner, false)
		close(f.s.begun)
	}()
}

// A restore that fails becomes an Init, a second environment for the same place. Whatever ends it reaches that one:
// also when it is asked for while there is neither the first nor the second.
func TestAStopReachesTheInitThatARestoreBecame(t *testing.T) {
	for name, c := range map[string]struct {
		provisioned bool
		held        bool // the stop is asked for before the Init begins
		stop        func(p *pool.Pool, v *function.Version)
	}{
		"drain":                               {false, false, func(p *pool.Pool, v *function.Version) {}},
		"drain in between":                    {false, true, func(p *pool.Pool, v *function.Version) {}},
		"retired, provisioned":                {true, false, func(p *pool.Pool, v *function.Version) { p.Retire(v.UnqualifiedARN(), "", 2) }},
		"retired in between, provisioned":     {true, true, func(p *pool.Pool, v *function.Version) { p.Retire(v.UnqualifiedARN(), "", 2) }},
		"drain, provisioned":                  {true, false, func(p *pool.Pool, v *function.Version) {}},
		"the drain's limit, and in between":   {false, true, nil},
		"the drain's limit, during that Init": {false, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFallingBack(c.held)
			p, _ := open(t, pool.Options{Starter: s, Provider: s})
			v := version("second", 1)
			v.Vars = map[string]string{"INIT": "9s"} // the runtime's own, within Init's limit
			got := make(chan error, 1)
			if c.provisioned {
				p.Provision(v, 1)
			} else {
				go func() {
					_, err := p.Invoke(context.Background(), request(v, `{}`))
					got <- err
				}()
			}
			<-s.failed
			if !c.held {
				<-s.begun
			}
			began := time.Now()
			limit := 5 * time.Second
			ended := make(chan error, 1)
			if c.stop != nil {
				c.stop(p, v)
			} else {
				limit = 0
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			if c.provisioned && name != "drain, provisioned" { // the pool goes on
				if c.held {
					close(s.hold)
				}
				until(t, "the environment is gone", func() bool { return p.Counts().Environments == 0 })
			} else {
				go func() { ended <- p.Close(ctx) }()
				if c.held {
					until(t, "the pool drains", func() bool {
						q := request(v, `{}`)
						q.Limits.Unreserved = 0 // refused as long as the pool is open
						_, err := p.Invoke(context.Background(), q)
						return errors.Is(err, pool.ErrClosed)
					})
					close(s.hold)
				}
				select {
				case err := <-ended:
					if err != nil && limit > 0 {
						t.Errorf("close: %v", err)
					}
				case <-time.After(30 * time.Second):
					t.Fatal("the drain never ends: the stop reached the environment that was gone")
				}
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("the Init went on for %v", took)
			}
			if !c.provisioned {
				if err := <-got; err == nil {
					t.Error("the invocation was answered")
				}
			}
		})
	}
}
