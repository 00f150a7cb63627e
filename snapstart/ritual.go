package snapstart

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thaw/execenv"
	"thaw/snapshot"
)

// step is one step of a making.
type step struct {
	name string
	do   func(ctx context.Context) error
	undo func(ctx context.Context) // when a later one has failed; nil: there is nothing to undo
	end  func()                    // frees what it took, whatever came of it; nil: it took nothing
}

// ritual are the eight steps by which a generation comes to be: those of snapshot's package comment, by the same names.
func (m *making) ritual() []step {
	return []step{
		{name: "name", do: m.named, undo: m.failed},
		{name: "save", do: m.save, end: func() { os.RemoveAll(m.dir) }},
		{name: "store", do: m.put, end: m.closeWriter},
		{name: "commit", do: m.commit, undo: func(ctx context.Context) { m.s.drop(ctx, m.l.id, m.next.ID) }},
		{name: "adopt", do: func(ctx context.Context) error { return m.s.cache.Adopt(ctx, m.next.ID, m.sink.parts) },
			undo: func(context.Context) { m.s.cache.Drop(m.next.ID) }},
		{name: "made", do: m.reportMade},
		{name: "verify", do: m.verify, end: m.letGo},
		{name: "swap", do: m.swap},
	}
}

// inOrder does the steps, one after the other. After one that failed, or the end of ctx, what was done is undone in
// reverse; undoing has no end of its own. The error is of the step that failed.
func inOrder(ctx context.Context, steps []step, failed func(step string, err error)) (err error) {
	last := -1
	for i, st := range steps {
		last = i
		if err = context.Cause(ctx); err == nil {
			err = st.do(ctx)
		}
		if err != nil {
			failed(st.name, err)
			break
		}
	}
	undoing := context.WithoutCancel(ctx)
	for i := last; i >= 0; i-- {
		if st := steps[i]; err != nil && i < last && st.undo != nil {
			st.undo(undoing)
		}
		if steps[i].end != nil {
			steps[i].end()
		}
	}
	return err
}

// named holds the making against the record, which has named it: the write that began it.
func (m *making) named(context.Context) error {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	switch {
	case !m.l.record.Concerns(m.next.ID):
		return errGivenUp
	case m.v == nil:
		return errors.New("nothing is known of the version's code")
	}
	return nil
}

// failed puts the failure into the record, unless the version was deleted, or another one is made by now.
func (m *making) failed(ctx context.Context) {
	if m.l.deleted() {
		return
	}
	_, err := m.s.write(ctx, m.l, about(m.next.ID, moves(m.why.Error(), snapshot.MakeFailed)))
	if err != nil && !errors.Is(err, errGivenUp) && !errors.Is(err, errDeleted) {
		m.unwritten = err
	}
}

// save runs Init and has what it leaves behind saved into files.
func (m *making) save(ctx context.Context) (err error) {
	s := m.s
	m.began, m.born = s.o.Now(), s.wall()
	if m.key, err = s.keyOf(m.v); err != nil {
		return err
	}
	if m.primes, err = s.primes(ctx, m.l, m.v); err != nil {
		return err
	}
	m.dir = filepath.Join(s.disk.making(), string(m.next.ID))
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return fmt.Errorf("snapshot folder: %w", err)
	}
	m.sink = &folderSink{dir: m.dir, parts: map[string]string{}}
	arn := m.v.UnqualifiedARN()
	m.made, err = s.o.Environments.Save(ctx, m.v, execenv.Make{Sink: m.sink, Layout: s.disk.key.Seed(arn, "layout"), Primes: m.primes},
		s.disk.key.Seed(arn, "interpreter"))
	if err != nil {
		return err
	}
	m.saved = s.o.Now()
	if m.sink.note != "" {
		s.o.Log.Warn("snapshot is larger than it need be", "fn", m.v.Name, "qualifier", m.v.Number, "snapshot", m.next.ID, "note", m.sink.note)
	}
	return nil
}

// put cuts the files into pages and stores these.
func (m *making) put(ctx context.Context) (err error) {
	s := m.s
	meta := *m.next
	meta.Key, meta.Born, meta.Created = m.key, m.born, s.wall()
	meta.StatedExpiry, meta.Hooks, meta.Primed = m.made.StatedExpiry, m.made.Hooks, len(m.primes)
	meta.Expires = m.policy().Expiry(m.born, meta.StatedExpiry)
	m.usual = tidyHeap()
	if m.writer, err = s.store.Begin(ctx, meta); err != nil {
		return err
	}
	for _, part := range slices.Sorted(maps.Keys(m.sink.parts)) {
		f, err := os.Open(m.sink.parts[part])
		if err != nil {
			return fmt.Errorf("part of a snapshot: %w", err)
		}
		err = m.writer.Add(part, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	m.stored = s.o.Now()
	return nil
}

func (m *making) closeWriter() {
	if m.writer != nil {
		m.writer.Close()
	}
	if m.usual != nil {
		m.usual()
	}
}

// commit makes the snapshot durable. Nothing names it as good yet.
func (m *making) commit(context.Context) error {
	written, err := m.writer.Commit(func(f *snapshot.Meta) {
		f.Attributes = map[string]string{"next": string(m.made.Next)}
		if m.sink.note != "" {
			f.Attributes["note"] = m.sink.note
		}
		f.Stages = []snapshot.Stage{{Name: "place and start", Seconds: (m.saved.Sub(m.began) - m.made.Init - m.made.Priming - m.made.Checkpoint).Seconds()},
			{Name: "init and hooks", Seconds: m.made.Init.Seconds()}, {Name: "checkpoint", Seconds: m.made.Checkpoint.Seconds()},
			{Name: "store", Seconds: m.stored.Sub(m.saved).Seconds()}, {Name: "commit", Seconds: m.s.o.Now().Sub(m.stored).Seconds()}}
		if len(m.primes) > 0 {
			f.Stages = slices.Insert(f.Stages, 2, snapshot.Stage{Name: "priming", Seconds: m.made.Priming.Seconds()})
		}
	})
	if err != nil {
		return err
	}
	meta := written.Meta
	m.meta = &meta
	return nil
}

func (m *making) reportMade(ctx context.Context) error {
	_, err := m.s.write(ctx, m.l, about(m.next.ID, moves("", snapshot.Made)))
	return err
}

// verify restores once. The copy ran its after-restore hooks and would serve.
func (m *making) verify(ctx context.Context) error {
	m.meta.Expires = m.policy().Expiry(m.meta.Born, m.meta.StatedExpiry)
	restore, release, err := m.s.open(ctx, m.meta)
	if err == nil {
		m.copied, err = m.s.o.Environments.Copy(ctx, m.v, restore, release)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// adopt makes the copy a spare of the pool, if the pool wants one, so that nobody waits for a restore after the swap.
// The policy may have been changed while the copy was verified: then the copy knows another end than the record.
func (m *making) adopt(current *snapshot.Meta) {
	if m.copied != nil && current != nil && m.copied.Expires().Equal(current.Expires) {
		m.adopted = m.copied.Adopt()
	}
}

// letGo ends the copy unless it was adopted.
func (m *making) letGo() {
	if m.copied != nil && !m.adopted {
		m.copied.End("verified")
	}
}

// swap makes the snapshot the current one, in one write of the record.
func (m *making) swap(ctx context.Context) error {
	m.meta.MakeSeconds = m.s.o.Now().Sub(m.began).Seconds()
	move := moves("", snapshot.Verified)
	_, err := m.s.write(ctx, m.l, about(m.next.ID, func(r *snapshot.Record, now time.Time) ([]snapshot.Step, error) {
		m.meta.Expires = m.s.policyOf(m.l, r).Expiry(m.meta.Born, m.meta.StatedExpiry) // the policy may be another than when the making began
		r.Next = m.meta
		return move(r, now)
	}))
	return err
}
