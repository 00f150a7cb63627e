package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/google/uuid"

	"thaw/function"
)

// writeLimit bounds a write. It goes on when its client leaves: half of a change helps nobody.
const writeLimit = 60 * time.Second

var stripeSeed = maphash.MakeSeed()

// exclusive lets one writer of a function at a time do something. It keeps the writers of this process from disturbing each other; the
// store's revisions do so for other processes.
func (s *Server) exclusive(k function.Key, f func() error) error {
	mu := &s.stripes[maphash.Comparable(stripeSeed, k)%uint64(len(s.stripes))]
	mu.Lock()
	defer mu.Unlock()
	return f()
}

func (s *Server) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
}

// change rewrites the record of a function: f changes a copy of it, or refuses. It returns the function as it is then, when everybody can
// see it. The error is function.ErrNotFound when there is none. Call it within exclusive when f itself writes.
func (s *Server) change(ctx context.Context, k function.Key, f func(e *function.Entry, r *function.Record) error) (*function.Entry, error) {
	ctx, cancel := s.writing(ctx)
	defer cancel()
	for {
		e := s.view.Get(k)
		if e == nil {
			return nil, function.ErrNotFound
		}
		r := e.Record.Clone()
		if err := f(e, r); err != nil {
			return nil, err
		}
		err := s.Store.Update(ctx, r)
		if errors.Is(err, function.ErrStale) { // another process was quicker: its change is on its way to us
			select {
			case <-e.Replaced():
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("change of %s: %w", k.Name, context.Cause(ctx))
			}
		}
		if err != nil {
			return nil, err
		}
		if err := s.view.Wait(ctx, r.Revision); err != nil {
			return nil, fmt.Errorf("change of %s: %w", k.Name, err)
		}
		if e := s.view.Get(k); e != nil {
			return e, nil
		}
		return nil, function.ErrNotFound
	}
}

func newRevisionID() string { return uuid.NewString() }

// addVersion publishes what $LATEST is as the next version, within a change of r: the version's record is written first, and counts as
// soon as r, which lists it, is.
func (s *Server) addVersion(ctx context.Context, r *function.Record, description *string, life function.Life) (*function.VersionRecord, error) {
	v := &function.VersionRecord{
		Config: r.Latest.Config.Clone(), Life: life,
		RevisionID: newRevisionID(), Modified: s.Now(), SourceDescription: r.Latest.Config.Description,
	}
	if description != nil {
		v.Config.Description = *description
	}
	for {
		n := r.NextNumber
		r.NextNumber++
		v.Number = function.NumberOf(n)
		err := s.Store.PutVersion(ctx, r.Key, r.Incarnation, v)
		if errors.Is(err, function.ErrStale) {
			continue // taken by somebody who was not the quickest to list it: the next start removes it
		}
		if err != nil {
			return nil, err
		}
		r.Numbers = append(r.Numbers, n)
		return v, nil
	}
}

// publishedLife is where a version starts that is published from a $LATEST that serves: with SnapStart it is Creating until settle has had its snapshot made.
func (s *Server) publishedLife(c *function.Config) function.Life {
	if c.SnapStart && s.Snapshots != nil {
		return function.Creating
	}
	return function.Live
}

// keepCode unpacks and stores a code package. release must be called when the record that names it is written, or is given up.
func (s *Server) keepCode(ctx context.Context, zip []byte) (hash string, release func(), err error) {
	hash, unpacked, err := s.Codes.Unpack(ctx, zip)
	if err != nil {
		return "", nil, err
	}
	s.codeMu.Lock()
	s.pins[hash]++
	s.codeMu.Unlock()
	release = func() {
		unpacked()
		s.codeMu.Lock()
		if s.pins[hash]--; s.pins[hash] == 0 {
			delete(s.pins, hash)
		}
		s.codeMu.Unlock()
		s.forgetCode(context.WithoutCancel(ctx), hash)
	}
	if _, _, err := s.Blobs.Put(ctx, bytes.NewReader(zip)); err != nil {
		release()
		return "", nil, err
	}
	return hash, release, nil
}

// forgetCode removes packages that no function needs any more. What a restart would find is not worth failing a request for.
func (s *Server) forgetCode(ctx context.Context, hashes ...string) {
	if len(hashes) == 0 {
		return
	}
	ctx, cancel := s.writing(ctx)
	defer cancel()
	s.codeMu.Lock()
	defer s.codeMu.Unlock()
	unwanted := map[string]bool{}
	for _, h := range hashes {
		if h != "" && s.pins[h] == 0 {
			unwanted[h] = true
		}
	}
	if len(unwanted) == 0 || s.Store.Complete() != nil { // a function whose record is lost may have the same package
		return
	}
	for _, e := range s.view.All() {
		e.Codes(func(h string) { delete(unwanted, h) })
	}
	for h := range unwanted {
		if err := s.Blobs.Delete(ctx, h); err != nil {
			s.Log.Warn("unused code stays until the next start", "code", h, "error", err)
		}
		s.Codes.Drop(h)
	}
}
