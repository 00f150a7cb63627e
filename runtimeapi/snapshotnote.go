package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"thaw/guest/wire"
)

const (
	// maxNote bounds the body of a note.
	maxNote = 4 << 10
	// maxStated bounds what a note may state; the same as snapshot.MaxInterval, which a guest need not carry.
	maxStated = 365 * 24 * time.Hour
)

// snapshotNote answers PUT /2026-01-01/thaw/snapshot, which is ours and not AWS's: the function says during Init or from a before-checkpoint hook when
// what it keeps in memory is no longer good. The last note counts.
//
// Body: {"ttlSeconds": N} or {"expires": RFC3339}, exactly one. 202; 400 when it is neither, or in the past, or more than a year away; 403 once the snapshot
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
	if from := a.State(); from != Started {
		return a.answer(c, q, failure(403, errInvalidStateTransition, "The expiry of a snapshot can be stated before it is made only. The runtime is in state "+from.String()))
	}
	expires, err := statedExpiry(body, time.Now())
	if err != nil {
		return a.answer(c, q, failure(400, errBadRequest, err.Error()))
	}
	if err := a.send(wire.KindSnapshotNote, wire.SnapshotNote{Generation: a.generation, ExpiresUnixMs: expires.UnixMilli()}, nil); err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	return a.answer(c, q, accepted)
}

// statedExpiry reads a note's body.
func statedExpiry(body []byte, now time.Time) (time.Time, error) {
	var note struct {
		TTLSeconds *float64   `json:"ttlSeconds"`
		Expires    *time.Time `json:"expires"`
	}
	if err := json.Unmarshal(body, &note); err != nil {
		return time.Time{}, errors.New(`the body is not {"ttlSeconds": N} or {"expires": RFC3339}`)
	}
	var end time.Time
	switch {
	case (note.TTLSeconds == nil) == (note.Expires == nil):
		return time.Time{}, errors.New("exactly one of ttlSeconds and expires is needed")
	case note.Expires != nil:
		end = *note.Expires
	case *note.TTLSeconds > maxStated.Seconds(): // before it overflows
		end = now.Add(maxStated + time.Second)
	default:
		end = now.Add(time.Duration(max(*note.TTLSeconds, 0) * float64(time.Second)))
	}
	if !end.After(now) {
		return time.Time{}, errors.New("that is not in the future")
	}
	if end.Sub(now) > maxStated {
		return time.Time{}, fmt.Errorf("that is more than %d days away", maxStated/(24*time.Hour))
	}
	return end, nil
}
