package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	"thaw/blob"
	"thaw/sandbox"
)

// looksAgain is how long a full look at a large tree is good, as long as its folders stay as they are: a look at 5,000 files takes
// tens of milliseconds, one at their 300 folders less than one. What was replaced, added or removed shows at once; a
// file that was written in place shows after this time. Package managers write none in place.
func (g group) looksAgain() time.Duration {
	if g.what == "task" || g.what == "opt" {
		return time.Second
	}
	return time.Minute
}

// small is a tree that is looked at in full each time.
const small = 256

// settled is how old the last change of a tree must be for the look at it to be good for the next time: another change within the
// same tick of the file system's clock would not show.
const settled = 50 * time.Millisecond

// imageOf gives the image of a group as it is now, and holds it.
func (s *Store) imageOf(ctx context.Context, g group) (*image, error) {
	key := g.key()
	for {
		if im, err := s.quick(ctx, g); im != nil || err != nil {
			return im, err
		}
		began := time.Now()
		t, err := s.look(ctx, key, g)
		if err != nil {
			return nil, fmt.Errorf("image of %s: %w", g.what, err)
		}
		s.mu.Lock()
		digest, known := s.looks[t.look]
		s.mu.Unlock()
		if !known {
			if digest, t, err = s.make(ctx, g, t); err != nil {
				return nil, err
			}
		}
		im, err := s.acquire(ctx, digest)
		if err != nil {
			return nil, err
		}
		if im == nil {
			continue // it was removed since, or was damaged: it is made again
		}
		s.remember(key, t, digest, began)
		return im, nil
	}
}

// quick holds the image of a group that was looked at a moment ago and has not moved since.
func (s *Store) quick(ctx context.Context, g group) (*image, error) {
	s.mu.Lock()
	k := s.groups[g.key()]
	s.mu.Unlock()
	if k == nil || k.tree.n <= small || time.Since(k.at) > g.looksAgain() || !unmoved(k.tree.dirs) {
		return nil, nil
	}
	return s.acquire(ctx, k.digest)
}

// remember notes what a look has led to.
func (s *Store) remember(key string, t *tree, digest string, began time.Time) {
	if began.Sub(t.last) < settled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[key] = &known{&tree{dirs: t.dirs, n: t.n}, digest, began}
}

// maxLooks bounds what is remembered of trees: one whose times alone change has a new look, and the image that it had.
const maxLooks = 10_000

// waiting are callers who want a look at a group that begins after they came.
type waiting struct {
	next *lookResult // of those who came while one is under way; nil: nobody
}

type lookResult struct {
	done chan struct{}
	tree *tree
	err  error
}

// look looks at a group. Those who come while another looks share the look after it.
func (s *Store) look(ctx context.Context, key string, g group) (*tree, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, sandbox.ErrClosed
	}
	w := s.turns[key]
	if w != nil && w.next != nil {
		r := w.next
		s.mu.Unlock()
		return r.wait(ctx)
	}
	r := &lookResult{done: make(chan struct{})}
	if w != nil {
		w.next = r
		s.mu.Unlock()
		return r.wait(ctx)
	}
	s.turns[key] = &waiting{}
	s.work.Add(1)
	s.mu.Unlock()
	go s.lookAll(key, g, r)
	return r.wait(ctx)
}

// lookAll looks until nobody waits for another look.
func (s *Store) lookAll(key string, g group, r *lookResult) {
	defer s.work.Done()
	for r != nil {
		r.tree, r.err = scan(s.ctx, g)
		for i := 1; i < attempts && errors.Is(r.err, ErrChanging); i++ {
			r.tree, r.err = scan(s.ctx, g)
		}
		close(r.done)
		s.mu.Lock()
		w := s.turns[key]
		r, w.next = w.next, nil
		if r == nil {
			delete(s.turns, key)
		}
		s.mu.Unlock()
	}
}

func (r *lookResult) wait(ctx context.Context) (*tree, error) {
	select {
	case <-r.done:
		return r.tree, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// make writes the image of a tree, once for all who want it.
func (s *Store) make(ctx context.Context, g group, t *tree) (string, *tree, error) {
	type made struct {
		digest string
		tree   *tree
	}
	v, err := s.once(ctx, "make "+t.look, func() (any, error) {
		s.mu.Lock()
		digest, known := s.looks[t.look] // by one who was just done when we came
		s.mu.Unlock()
		if known {
			return made{digest, t}, nil
		}
		began := time.Now()
		digest, size, of, err := s.write(s.ctx, g, t)
		if err != nil {
			return nil, err
		}
		good := s.stays(g, of, began)
		s.mu.Lock()
		im := s.images[digest]
		if im == nil {
			im = &image{digest: digest}
			s.images[digest] = im
		}
		im.size, im.used, im.sound = size, time.Now(), true
		if info, err := os.Lstat(s.blobs.Path(digest)); err == nil {
			im.wrote = info.ModTime()
		}
		if good {
			if len(s.looks) >= maxLooks {
				clear(s.looks) // trees are read once more
			}
			s.looks[of.look] = digest
		}
		s.mu.Unlock()
		s.save()
		s.log.Debug("image made", "of", g.what, "image", digest, "bytes", size, "entries", of.n, "duration", time.Since(began))
		return made{digest, of}, nil
	})
	if err != nil {
		return "", nil, err
	}
	return v.(made).digest, v.(made).tree, nil
}

// stays says whether the look at a tree is good for the next time: its last change was long before the look, or a second look
// shows the same now that it is.
func (s *Store) stays(g group, t *tree, began time.Time) bool {
	if began.Sub(t.last) >= settled {
		return true
	}
	if time.Since(t.last) < settled {
		return false
	}
	again, err := scan(s.ctx, g)
	return err == nil && again.look == t.look
}

// once runs f in a goroutine of the store's, for all who come with the same key meanwhile. ctx bounds the waiting.
func (s *Store) once(ctx context.Context, key string, f func() (any, error)) (any, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, sandbox.ErrClosed
	}
	s.work.Add(1)
	s.mu.Unlock()
	ch := s.flight.DoChan(key, f)
	select {
	case r := <-ch:
		s.work.Done()
		return r.Val, r.Err
	case <-ctx.Done():
		go func() { // Close waits for it
			<-ch
			s.work.Done()
		}()
		return nil, context.Cause(ctx)
	}
}

// acquire holds an image; nil: it is not there, or was damaged and is not there any more.
func (s *Store) acquire(ctx context.Context, digest string) (*image, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, sandbox.ErrClosed
	}
	im := s.images[digest]
	if im == nil {
		s.mu.Unlock()
		return nil, nil
	}
	im.users++ // it cannot be evicted from here on
	sound, size, wrote := im.sound, im.size, im.wrote
	s.mu.Unlock()
	info, err := os.Lstat(s.blobs.Path(digest))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() != size:
		err = blob.ErrDamaged
	case err == nil && !sound && size > readAtOnce && info.ModTime().Equal(wrote):
		s.verifyLater(im)
		return im, nil
	case err == nil && !sound:
		_, err = s.once(ctx, "check "+digest, func() (any, error) { return nil, s.verify(s.ctx, digest) })
	}
	if err == nil {
		s.mu.Lock()
		im.sound = true
		s.mu.Unlock()
		return im, nil
	}
	s.release(im)
	if !errors.Is(err, blob.ErrDamaged) && !errors.Is(err, blob.ErrNotFound) {
		return nil, err
	}
	return nil, s.drop(im)
}

// readAtOnce is how large an image may be whose first user in a process waits until all of it was read: that of a host's
// libraries, with a gigabyte, would keep the first cold start after a start waiting for a second and more.
const readAtOnce = 8 << 20

// verifyLater compares an image with its name in the background, once.
func (s *Store) verifyLater(im *image) {
	s.mu.Lock()
	first := !im.sound && !s.closed
	if first {
		im.sound = true
		s.work.Add(1)
	}
	s.mu.Unlock()
	if !first {
		return
	}
	go func() {
		defer s.work.Done()
		err := s.verify(s.ctx, im.digest)
		if errors.Is(err, blob.ErrDamaged) {
			err = s.drop(im)
		}
		if err != nil && s.ctx.Err() == nil {
			s.log.Warn("an image was not checked", "image", im.digest, "error", err)
		}
	}()
}

// drop forgets an image that is damaged. Machines that have its file open keep it.
func (s *Store) drop(im *image) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[im.digest] != im {
		return nil // somebody else has
	}
	s.log.Warn("an image was damaged and is made again", "image", im.digest)
	s.forgetLocked(im)
	return s.blobs.Delete(context.WithoutCancel(s.ctx), im.digest)
}

func (s *Store) forgetLocked(im *image) {
	delete(s.images, im.digest)
	maps.DeleteFunc(s.looks, func(_, d string) bool { return d == im.digest })
	maps.DeleteFunc(s.groups, func(_ string, k *known) bool { return k.digest == im.digest })
}

// release gives back what was acquired.
func (s *Store) release(held ...*image) {
	s.mu.Lock()
	for _, im := range held {
		im.users--
		im.used = time.Now()
	}
	s.mu.Unlock()
	s.evict()
}

// spareLocked says how many bytes the images have that nobody holds, and which of them goes first.
func (s *Store) spareLocked(needed map[string]bool) (bytes int64, first *image) {
	for _, im := range s.images {
		if im.users > 0 {
			continue
		}
		bytes += im.size
		if !needed[im.digest] && (first == nil || im.used.Before(first.used)) {
			first = im
		}
	}
	return bytes, first
}

// evict removes images that nobody holds until those that are left have no more than KeepBytes.
func (s *Store) evict() {
	s.mu.Lock()
	bytes, _ := s.spareLocked(nil)
	closed := s.closed
	s.mu.Unlock()
	if bytes <= s.keep || closed {
		return
	}
	var needed map[string]bool
	if s.needed != nil {
		var err error
		if needed, err = s.needed(); err != nil {
			s.log.Warn("images are not evicted: it is unknown which ones snapshots need", "error", err)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		bytes, first := s.spareLocked(needed)
		if bytes <= s.keep || first == nil {
			return
		}
		s.forgetLocked(first)
		if err := s.blobs.Delete(context.WithoutCancel(s.ctx), first.digest); err != nil {
			s.log.Warn("an image was not evicted", "image", first.digest, "error", err)
		}
	}
}
