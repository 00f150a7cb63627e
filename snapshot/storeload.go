package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

func (s *Store) load(ctx context.Context) error {
	b, err := s.blobs.Get(ctx, formatKey)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := s.putFormat(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if text, err := s.key.open(formatKey, b); err != nil {
			if err := s.mendFormat(ctx); err != nil {
				return err
			}
		} else if slices.Contains(olderFormats, string(text)) {
			if err := s.putFormat(ctx); err != nil {
				return err
			}
		} else if string(text) != formatText {
			return fmt.Errorf("unknown format %q", text)
		}
	}
	list, err := s.blobs.List(ctx, packDir+"/")
	if err != nil {
		return err
	}
	sizes := make(map[ID]int64, len(list))
	for _, info := range list {
		sizes[packOf(info.Key)] = info.Size
	}
	buried := map[ID]bool{} // an interrupted sweep meant to delete them: nothing new shall need them
	if err := s.tombs(ctx, func(_ string, t tomb) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range t.Packs {
			buried[id] = true
		}
		return nil
	}); err != nil {
		return err
	}
	if err := s.loadIndexes(ctx, sizes, buried); err != nil {
		return err
	}
	return s.loadManifests(ctx, sizes)
}

// mendFormat writes the constant anew when it is damaged: the key is the right one when it opens anything else.
// ErrWrongKey when it opens nothing.
func (s *Store) mendFormat(ctx context.Context) error {
	for _, dir := range []string{manifestDir, indexDir} {
		list, err := s.blobs.List(ctx, dir+"/")
		if err != nil {
			return err
		}
		for _, info := range list {
			sealed, err := s.blobs.Get(ctx, info.Key)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if _, err := s.key.open(info.Key, sealed); err == nil {
				s.log.Warn("the head of the snapshot store was damaged and is written anew")
				return s.putFormat(ctx)
			}
		}
	}
	return ErrWrongKey
}

func (s *Store) putFormat(ctx context.Context) error {
	return s.blobs.Put(ctx, formatKey, s.key.seal(formatKey, []byte(formatText)))
}

func (s *Store) loadIndexes(ctx context.Context, sizes map[ID]int64, buried map[ID]bool) error {
	list, err := s.blobs.List(ctx, indexDir+"/")
	if err != nil {
		return err
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var packs []packIndex
		if err == nil {
			packs, err = parseIndex(b)
		}
		if err != nil {
			s.log.Warn("index of snapshot pages is damaged; sharing suffers, nothing else", "blob", key, "err", err)
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range packs {
			if size, ok := sizes[p.id]; ok && !buried[p.id] {
				s.addPackLocked(p, size)
			}
		}
		return nil
	})
}

func (s *Store) loadManifests(ctx context.Context, sizes map[ID]int64) error {
	list, err := s.blobs.List(ctx, manifestDir+"/")
	if err != nil {
		return err
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var m *Manifest
		if err == nil {
			m, err = parseManifestOf(key, b)
		}
		if err != nil {
			s.log.Warn("snapshot manifest is damaged", "blob", key, "err", err)
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.addManifestLocked(m)
		for _, ref := range m.Packs {
			s.packs[ID(ref.ID)].stored = sizes[ID(ref.ID)]
		}
		return nil
	})
}

func parseManifestOf(key string, b []byte) (*Manifest, error) {
	m, err := ParseManifest(b)
	if err == nil && manifestKey(m.ID) != key {
		err = fmt.Errorf("is that of %s", m.ID)
	}
	return m, err
}
