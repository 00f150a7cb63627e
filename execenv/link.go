package execenv

import (
	"errors"
	"fmt"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

func exitError(x sandbox.Exit) error {
	switch {
	case x.OutOfMemory:
		return errSandboxMemory
	case x.Err != nil:
		return fmt.Errorf("sandbox ended: %w", x.Err)
	}
	return errors.New("sandbox ended")
}

var errSandboxMemory = errors.New("sandbox was killed at its memory limit")

func (d *driver) lost(err error) {
	if d.state == Checkpointing { // a sandbox ends with its checkpoint; whether that was one, Checkpoint says
		return
	}
	if d.state == Stopping || d.state == Gone {
		return
	}
	if d.frames != nil { // what the guest said before it went still counts
		for {
			select {
			case f, ok := <-d.frames:
				if !ok {
					d.frames = nil
				} else {
					d.frame(f)
					continue
				}
			default:
			}
			break
		}
	}
	if d.state == Stopping || d.state == Gone {
		return
	}
	if d.box != nil && err != errSandboxMemory && d.exited != nil { // the stream may end a moment before the sandbox is known to be gone
		select {
		case <-d.exited:
			d.exited = nil
			err = exitError(d.box.Exit())
		case <-time.After(500 * time.Millisecond):
		}
	}
	d.failure = err
	if errors.Is(err, errSandboxMemory) {
		d.sayOutOfMemory(0, true)
	}
	d.handle(SandboxExited)
}

func (d *driver) sandboxMade(m madeSandbox) {
	if m.err != nil {
		if d.state == Creating {
			d.failure = m.err
			d.handle(CreateFailed)
		} else {
			close(d.closed) // it was asked to go meanwhile: that is no failure, and there is nothing to close
		}
		return
	}
	d.box = m.box
	if d.state != Creating {
		d.close()
		return
	}
	d.limit.Reset(helloLimit)
	d.observeStages()
	d.pids = d.box.PIDs()
	d.exited, d.memory = d.box.Exited(), d.box.MemoryExceeded()
	d.out = wire.NewWriter(d.box.Conn())
	frames := make(chan wire.Frame, 8)
	d.frames = frames
	go func() {
		defer close(frames)
		r := wire.NewReader(d.box.Conn())
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			select {
			case frames <- f:
			case <-d.e.done:
				return
			}
		}
	}()
	if d.o.Restore != nil { // its guest has said Hello in another life, and waits for a word
		d.gen.number = 1
		d.handle(SandboxRestored)
	}
	// Otherwise the guest's Hello is the proof that it is up: SandboxMade is handled when it has been read.
}

func (d *driver) observeStages() {
	if d.o.Observe == nil {
		return
	}
	for _, s := range d.box.Stages() {
		d.o.Observe(s.Name, time.Duration(s.Seconds*float64(time.Second)))
	}
}

// close removes the sandbox beside the driver, which goes on telling late callers that it is leaving.
func (d *driver) close() {
	if d.box == nil {
		if d.state == Stopping && d.failure != nil { // creation failed
			close(d.closed)
		}
		return // sandboxMade closes what arrives
	}
	changing := d.changing
	go func() {
		if err := d.box.Close(); err != nil {
			d.o.Log.Error("sandbox left something behind", "env", d.id, "error", err)
		}
		if changing != nil {
			<-changing
		}
		close(d.closed)
	}()
}
