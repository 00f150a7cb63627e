package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"thaw/sandbox/firecracker/vmm"
)

// askPause is how often QEMU is asked whether it is ready. A snapshot takes milliseconds.
const askPause = 2 * time.Millisecond

// started returns what a machine that runs is spoken to with.
func (m *machine) started() (*client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, errClosed
	case m.qmp == nil:
		return nil, errors.New("the machine was not started")
	}
	return m.qmp, nil
}

// ask has QEMU do a command; when it ends meanwhile, the error says why.
func (m *machine) ask(ctx context.Context, command string, args, result any, files ...*os.File) error {
	q, err := m.started()
	if err == nil {
		err = q.call(ctx, command, args, result, files...)
	}
	if errors.Is(err, errGone) {
		select {
		case <-m.exited:
			err = m.why()
		case <-ctx.Done():
		}
	}
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.slot.Name, err)
	}
	return nil
}

// Pause is vmm.Machine's.
func (m *machine) Pause(ctx context.Context) error { return m.turn(ctx, "stop", true) }

// Resume is vmm.Machine's.
func (m *machine) Resume(ctx context.Context) error { return m.turn(ctx, "cont", false) }

func (m *machine) turn(ctx context.Context, command string, paused bool) error {
	m.mu.Lock()
	already := m.paused == paused
	m.mu.Unlock()
	if _, err := m.started(); err != nil || already {
		return err
	}
	if err := m.ask(ctx, command, nil, nil); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = paused
	return nil
}

// stream is the name under which QEMU keeps the pipe of a snapshot.
const stream = "state"

// Snapshot is vmm.Machine's.
func (m *machine) Snapshot(ctx context.Context, state, memory *os.File) error {
	m.mu.Lock()
	paused, mem := m.paused, m.memory
	m.mu.Unlock()
	if _, err := m.started(); err != nil {
		return err
	}
	if !paused {
		return fmt.Errorf("machine %s: only a paused one can be saved", m.slot.Name)
	}
	if err := m.saveState(ctx, state); err != nil {
		return err
	}
	if !mem.shared {
		return nil // it is in the stream
	}
	if err := mem.save(memory); err != nil {
		return fmt.Errorf("machine %s: memory: %w", m.slot.Name, err)
	}
	return nil
}

// saveState takes QEMU's stream through a pipe: QEMU may start no programs, and does not write to files in all versions.
func (m *machine) saveState(ctx context.Context, state *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = m.ask(ctx, "getfd", map[string]any{"fdname": stream}, nil, w)
	w.Close()
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() { _, err := io.Copy(state, r); copied <- err }()
	if err = m.ask(ctx, "migrate", map[string]any{"uri": "fd:" + stream}, nil); err == nil {
		err = m.awaitSaved(ctx)
	}
	if err != nil {
		r.SetReadDeadline(past) // QEMU may still have the other end
	}
	return errors.Join(err, <-copied)
}

func (m *machine) awaitSaved(ctx context.Context) error {
	return m.await(ctx, func() (bool, error) {
		var now struct {
			Status string `json:"status"`
			Why    string `json:"error-desc"`
		}
		if err := m.ask(ctx, "query-migrate", nil, &now); err != nil {
			return false, err
		}
		if now.Status == "failed" || now.Status == "cancelled" {
			return false, fmt.Errorf("machine %s: save: %s %s", m.slot.Name, now.Status, now.Why)
		}
		return now.Status == "completed", nil
	})
}

func (m *machine) await(ctx context.Context, ready func() (bool, error)) error {
	again := time.NewTicker(askPause)
	defer again.Stop()
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("machine %s: %w", m.slot.Name, context.Cause(ctx))
		}
	}
}

// Restore is vmm.Machine's.
func (m *machine) Restore(ctx context.Context, c vmm.Config, s vmm.Saved) error {
	if err := m.begin(); err != nil {
		return err
	}
	mem, err := savedMemory(c.MemoryMiB, s, m.slot.UID, m.slot.GID)
	if err == nil {
		err = m.launch(ctx, c, mem, "-incoming", "defer")
	}
	if err == nil {
		err = m.loadState(ctx, s.State)
	}
	return m.launched("restore", err)
}

// loadState gives QEMU the stream of a snapshot, and lets the machine run when it has all.
func (m *machine) loadState(ctx context.Context, state *os.File) error {
	// QEMU waits for ever for the first word of a stream that ends before it.
	if n, err := state.ReadAt(make([]byte, 8), 0); n < 8 {
		return fmt.Errorf("a state of %d bytes: %w", n, err)
	}
	q, err := m.started()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	err = q.call(ctx, "getfd", map[string]any{"fdname": stream}, nil, r)
	r.Close()
	if err != nil {
		w.Close()
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, io.NewSectionReader(state, 0, 1<<62))
		copied <- errors.Join(err, w.Close())
	}()
	if err = q.call(ctx, "migrate-incoming", map[string]any{"uri": "fd:" + stream}, nil); err == nil {
		err = m.await(ctx, func() (bool, error) {
			var now struct {
				Status string `json:"status"`
			}
			err := q.call(ctx, "query-status", nil, &now)
			return now.Status != "inmigrate", err
		})
	}
	if err == nil {
		err = q.call(ctx, "cont", nil, nil)
	}
	w.SetWriteDeadline(past) // QEMU has read what it wants
	if werr := <-copied; err == nil && werr != nil && !errors.Is(werr, os.ErrDeadlineExceeded) {
		err = werr
	}
	return err
}
