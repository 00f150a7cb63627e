package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Swept says what a Sweep did.
type Swept struct {
	Manifests  int   // removed: in no record, and of nobody
	Packs      int   // removed, moved ones included
	Bytes      int64 // of these packs, as stored
	MovedPages int   // into new packs, to be rid of packs with few pages in use
	Damaged    int   // manifests removed because they cannot be read
}

// Sweep removes what nothing refers to. live returns the snapshots that records name; it is called once, after the manifests were listed.
// Packs of which less than Options.MinLive is in use are emptied into new ones. Writers and extractions may go on meanwhile. After an
// error everything is still consistent; the next sweep goes on.
func (s *Store) Sweep(ctx context.Context, live func(context.Context) (map[ID]bool, error)) (Swept, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	var done Swept
	err := s.sweep(ctx, live, &done)
	if err != nil {
		err = fmt.Errorf("sweep of snapshots: %w", err)
	}
	return done, err
}

func (s *Store) sweep(ctx context.Context, live func(context.Context) (map[ID]bool, error), done *Swept) error {
	if err := s.sweepTombs(ctx); err != nil {
		return err
	}
	if err := s.sweepManifests(ctx, live, done); err != nil {
		return err
	}
	if err := s.compact(ctx, done); err != nil {
		return err
	}
	if err := s.sweepPacks(ctx, done); err != nil {
		return err
	}
	return s.sweepIndexes(ctx)
}

// sweepManifests. The order matters: list, then who is held, then who is live. What is held at the second step stays. What is
// not held then was closed before, so that its record, if there is one, is seen at the third.
func (s *Store) sweepManifests(ctx context.Context, live func(context.Context) (map[ID]bool, error), done *Swept) error {
	if err := s.syncManifests(ctx, done); err != nil {
		return err
	}
	s.mu.Lock()
	var candidates []*Manifest
	for id, m := range s.manifests {
		if !s.held[id] {
			candidates = append(candidates, m)
		}
	}
	s.mu.Unlock()
	alive, err := live(ctx)
	if err != nil {
		return err
	}
	for _, m := range candidates {
		if alive[m.ID] || s.opt.Now().Sub(m.Created) < s.opt.OrphanAge {
			continue
		}
		if err := s.Delete(ctx, m.ID); err != nil {
			return err
		}
		done.Manifests++
	}
	return nil
}

// syncManifests brings in what other servers wrote and removed.
func (s *Store) syncManifests(ctx context.Context, done *Swept) error {
	s.mu.Lock()
	before := maps.Clone(s.manifests) // these were durable before the list below begins
	s.mu.Unlock()
	list, err := s.blobs.List(ctx, manifestDir+"/")
	if err != nil {
		return err
	}
	var unknown []BlobInfo
	s.mu.Lock()
	for _, info := range list {
		id := ID(strings.TrimPrefix(info.Key, manifestDir+"/"))
		delete(before, id)
		if s.manifests[id] == nil && !s.held[id] {
			unknown = append(unknown, info)
		}
	}
	for id, m := range before {
		if s.manifests[id] == m {
			delete(s.manifests, id)
		}
	}
	s.mu.Unlock()
	return s.eachBlob(ctx, unknown, func(key string, b []byte, err error) error {
		var m *Manifest
		if err == nil {
			m, err = parseManifestOf(key, b)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			if !s.held[m.ID] {
				s.addManifestLocked(m)
			}
			return nil
		}
		s.log.Warn("damaged snapshot manifest is removed", "blob", key, "err", err)
		done.Damaged++
		return s.blobs.Delete(ctx, key)
	})
}

// sweepPacks removes packs that no manifest uses.
func (s *Store) sweepPacks(ctx context.Context, done *Swept) error {
	list, err := s.blobs.List(ctx, packDir+"/")
	if err != nil {
		return err
	}
	s.mu.Lock()
	used := map[ID]bool{}
	for _, m := range s.manifests {
		for _, ref := range m.Packs {
			used[ID(ref.ID)] = true
		}
	}
	dead := map[ID]int64{}
	var known []*pack
	for _, info := range list {
		id := packOf(info.Key)
		if used[id] {
			continue
		}
		p := s.packs[id]
		if p == nil {
			// A crashed writer's, or one that another server is about to refer to.
			if first, ok := s.strangers[id]; !ok {
				s.strangers[id] = s.opt.Now()
			} else if len(s.held) == 0 && s.opt.Now().Sub(first) >= s.opt.OrphanAge {
				dead[id] = info.Size
			}
			continue
		}
		p.stored = info.Size
		if p.pins == 0 {
			known = append(known, p)
			dead[id] = info.Size
		}
	}
	if len(known) > 0 {
		s.forgetPacksLocked(known...)
	}
	s.mu.Unlock()
	if len(dead) == 0 {
		return nil
	}
	return s.bury(ctx, dead, done)
}

// A tomb names packs that a sweep deletes.
type tomb struct {
	Made  time.Time `json:"made"`
	Packs []ID      `json:"packs"`
}

// bury deletes packs by the protocol that the package comment describes.
func (s *Store) bury(ctx context.Context, dead map[ID]int64, done *Swept) error {
	t := tomb{Made: s.opt.Now(), Packs: slices.Sorted(maps.Keys(dead))}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	key := tombDir + "/" + string(NewID())
	if _, err := s.putSmall(ctx, key, b); err != nil {
		return err
	}
	if err := s.syncManifests(ctx, done); err != nil {
		return err
	}
	s.mu.Lock()
	for _, m := range s.manifests {
		for _, ref := range m.Packs {
			delete(dead, ID(ref.ID)) // another server refers to it after all
		}
	}
	s.mu.Unlock()
	for id, size := range dead {
		if err := s.blobs.Delete(ctx, packKey(id)); err != nil {
			return err
		}
		done.Packs++
		done.Bytes += size
		s.mu.Lock()
		delete(s.strangers, id)
		s.mu.Unlock()
	}
	return s.blobs.Delete(ctx, key)
}

// tombs calls f with every tomb that there is.
func (s *Store) tombs(ctx context.Context, f func(key string, t tomb) error) error {
	list, err := s.blobs.List(ctx, tombDir+"/")
	if err != nil {
		return err
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var t tomb
		if err == nil {
			err = json.Unmarshal(b, &t)
		}
		if err != nil { // it protects nothing
			return s.blobs.Delete(ctx, key)
		}
		return f(key, t)
	})
}

// sweepTombs removes what interrupted sweeps left: the packs are looked at again like all others.
func (s *Store) sweepTombs(ctx context.Context) error {
	return s.tombs(ctx, func(key string, t tomb) error {
		if s.opt.Now().Sub(t.Made) < s.opt.OrphanAge {
			return nil
		}
		return s.blobs.Delete(ctx, key)
	})
}

// checkTombs answers ErrSwept when one of the packs is about to be deleted by another server, and shares it no more.
func (s *Store) checkTombs(ctx context.Context, packs map[ID]bool) error {
	return s.tombs(ctx, func(_ string, t tomb) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		var hit []*pack
		for _, id := range t.Packs {
			if p := s.packs[id]; packs[id] && p != nil {
				hit = append(hit, p)
			}
		}
		if len(hit) == 0 {
			return nil
		}
		s.hidePacksLocked(hit...)
		return ErrSwept
	})
}

// sweepIndexes removes indexes of which no pack is left. An index comes after its packs, so packs are listed after indexes.
func (s *Store) sweepIndexes(ctx context.Context) error {
	list, err := s.blobs.List(ctx, indexDir+"/")
	if err != nil {
		return err
	}
	packs, err := s.blobs.List(ctx, packDir+"/")
	if err != nil {
		return err
	}
	there := make(map[ID]bool, len(packs))
	for _, info := range packs {
		there[packOf(info.Key)] = true
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var packs []packIndex
		if err == nil {
			packs, err = parseIndex(b)
		}
		if err == nil && slices.ContainsFunc(packs, func(p packIndex) bool { return there[p.id] }) {
			return nil
		}
		return s.blobs.Delete(ctx, key)
	})
}
