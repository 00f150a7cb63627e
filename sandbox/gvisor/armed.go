package gvisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thaw/sandbox"
)

// rearmPause is how long a place stays empty: as long as a restore and its first invoke take on a busy machine.
const rearmPause = 200 * time.Millisecond

// keepArmed keeps sandboxes that wait for a snapshot. It runs from the first restore or checkpoint on: a server without snapshots has none of them.
func (b *Backend) keepArmed() {
	defer b.wg.Done()
	for {
		b.mu.Lock()
		short := len(b.armed) < b.opt.Blank
		b.mu.Unlock()
		if !short {
			select {
			case <-b.ctx.Done():
				return
			case <-b.rearm:
			}
			select { // whoever took one needs the cores more now
			case <-b.ctx.Done():
				return
			case <-time.After(rearmPause):
			}
			continue
		}
		if b.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeoutCause(b.ctx, blankLimit, errors.New("a blank sandbox took too long"))
		s, err := b.makeSandbox(ctx, newStages(), true, created, armed)
		cancel()
		if err == nil {
			b.mu.Lock()
			b.armed = append(b.armed, s) // also after Close, which has it among the living
			b.mu.Unlock()
			continue
		}
		if b.ctx.Err() == nil {
			b.log.Warn("blank sandbox for snapshots", "err", err)
		}
		select {
		case <-b.ctx.Done():
			return
		case <-time.After(retryPause):
		}
	}
}

// wantArmedLocked starts keepArmed. Backend.mu is held.
func (b *Backend) wantArmedLocked() {
	if b.opt.Blank > 0 && !b.arming && !b.closed {
		b.arming = true
		b.wg.Add(1)
		go b.keepArmed()
	}
}

// takeArmed returns a sandbox that waits for a snapshot, or makes one.
func (b *Backend) takeArmed(ctx context.Context, clock *stages) (*Sandbox, error) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return nil, sandbox.ErrClosed
		}
		b.wantArmedLocked()
		var s *Sandbox
		if len(b.armed) > 0 {
			s = b.armed[0]
			b.armed = append(b.armed[:0], b.armed[1:]...)
		} else {
			b.wg.Add(1)
		}
		b.mu.Unlock()
		if s == nil {
			defer b.wg.Done()
			if err := b.make.Acquire(ctx, 1); err != nil {
				return nil, fmt.Errorf("sandbox: %w", context.Cause(ctx))
			}
			defer b.make.Release(1)
			clock.mark("wait for a core")
			return b.makeSandbox(ctx, clock, false, created, armed)
		}
		select {
		case b.rearm <- struct{}{}:
		default:
		}
		if s.ended() {
			b.log.Warn("blank sandbox ended by itself", "sandbox", s.name, "err", s.Exit().Err)
			s.Close()
			continue
		}
		clock.mark("blank")
		return s, nil
	}
}
