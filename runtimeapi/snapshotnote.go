package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

const (
	// maxNote bounds the body of a note.
	maxNote = 16 << 10
	// maxStated bounds what a note may state; the same as snapshot.MaxInterval, which a guest need not carry.
	maxStated = 365 * 24 * time.Hour
)

// snapshotNote answers PUT /2026-01-01/thaw/snapshot, which is ours and not AWS's: the function says during Init or from a before-checkpoint hook when
// what it keeps in memory is no longer good, and a client which of its hooks ran. The last note of each counts.
//
// Body: {"ttlSeconds": N} or {"expires": RFC3339} or {"hooks": [NAME ...]}, exactly one. 202; 400 when it is neither, or in the past, or more than a year away; 403 once the snapshot
// point was reached; 404 where no snapshot is made.
func (a *API) snapshotNote(c *conn, q *request) error {
	if err := a.welcome(c, q); err != nil {
		return err
	}
	body, err := c.in.whole(q, maxNote)
	if errors.Is(err, errTooLarge) {
		return a.answer(c, q, tooLarge())
	} else if err != nil {
		return a.broken(c, err)
	}
	if from, open := a.noteOpen(); !open {
		return a.answer(c, q, failure(403, errInvalidStateTransition, "The expiry of a snapshot can be stated before it is made only. The runtime is in state "+from.String()))
	}
	note, err := readNote(body, time.Now())
	if err != nil {
		return a.answer(c, q, failure(400, errBadRequest, err.Error()))
	}
	note.Generation = a.generation
	if err := a.send(wire.KindSnapshotNote, note, nil); err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	return a.answer(c, q, accepted)
}

// noteOpen says whether the snapshot point is still ahead: Init runs, a priming invocation, or the hooks.
func (a *API) noteOpen() (from readiness.State, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stateLocked()
	return s, s == readiness.Started || s == readiness.Primed || s == readiness.Running && a.current.Priming
}

// Bounds of what a client may tell of its hooks; more is left out.
const (
	maxHooks    = 64
	maxHookName = 128
)

// readNote reads a note's body.
func readNote(body []byte, now time.Time) (wire.SnapshotNote, error) {
	var note struct {
		TTLSeconds *float64   `json:"ttlSeconds"`
		Expires    *time.Time `json:"expires"`
		Hooks      []string   `json:"hooks"`
	}
	if err := json.Unmarshal(body, &note); err != nil {
		return wire.SnapshotNote{}, errors.New(`the body is not {"ttlSeconds": N}, {"expires": RFC3339} or {"hooks": [NAME]}`)
	}
	if note.Hooks != nil && note.TTLSeconds == nil && note.Expires == nil {
		names := note.Hooks[:min(len(note.Hooks), maxHooks)]
		for i, n := range names {
			names[i] = n[:min(len(n), maxHookName)]
		}
		return wire.SnapshotNote{Hooks: names}, nil
	}
	var end time.Time
	switch {
	case (note.TTLSeconds == nil) == (note.Expires == nil) || note.Hooks != nil:
		return wire.SnapshotNote{}, errors.New("exactly one of ttlSeconds, expires and hooks is needed")
	case note.Expires != nil:
		end = *note.Expires
	case *note.TTLSeconds > maxStated.Seconds(): // before it overflows
		end = now.Add(maxStated + time.Second)
	default:
		end = now.Add(time.Duration(max(*note.TTLSeconds, 0) * float64(time.Second)))
	}
	if !end.After(now) {
		return wire.SnapshotNote{}, errors.New("that is not in the future")
	}
	if end.Sub(now) > maxStated {
		return wire.SnapshotNote{}, fmt.Errorf("that is more than %d days away", maxStated/(24*time.Hour))
	}
	return wire.SnapshotNote{ExpiresUnixMs: end.UnixMilli()}, nil
}
