package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"thaw/internal/treesum"
)

// changing are the names of what may change in a folder: a Python that we run on the host, to ask it about itself,
// compiles into its own. What we have compiled for a client stays as it is.
func changing(dir string) []string {
	if strings.HasPrefix(filepath.Base(dir), "client-") {
		return nil
	}
	return []string{"__pycache__"}
}

// makeFolder makes dir, complete or not at all: fill writes into a folder beside it, which then takes its name. A
// folder that is there already has the right content, because its name holds the hash of that; once in each process it
// is compared with the sum that was written when it was made, and made again when a disk or a hand has changed it.
func (r *Registry) makeFolder(dir string, fill func(tmp string) error) error {
	making, _ := r.making.LoadOrStore(dir, new(sync.Mutex))
	making.(*sync.Mutex).Lock()
	defer making.(*sync.Mutex).Unlock()
	if same, _ := r.sound(dir); same {
		return nil
	}
	bad := isFolder(dir) // if not, another process may make it at the same time
	tmp, err := os.MkdirTemp(r.dir, ".tmp-"+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(dir), err)
	}
	if err := readableByAll(tmp); err != nil {
		return err
	}
	if bad {
		if err := r.discard(dir); err != nil {
			return err
		}
	}
	if err := treesum.Put(dir, tmp, ".tmp-", changing(dir)...); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) && !isFolder(dir) {
		return err
	}
	r.sums.Store(dir, verdict{same: true})
	return nil
}

// readAtOnce is how many bytes of a folder its first user may wait for. More are read in the background, after a look
// at names, sizes and times: a client with its SDK, or an interpreter, would keep the first cold start after a start
// waiting.
const readAtOnce = 8 << 20

// verdict says whether a folder was as its sum says, and if not, what it looked like then (treesum.Look), and whether the
// log has it.
type verdict struct {
	same bool
	look string
	told bool
}

// sound says whether a folder is as makeFolder has left it; known is false when there is none, or no sum of it. It looks
// once, and again when a bad one looks different: somebody copies it here, and is not done.
func (r *Registry) sound(dir string) (same, known bool) {
	if !isFolder(dir) {
		return false, false
	}
	was, judged := r.sums.Load(dir)
	if judged && was.(verdict).same {
		return true, true
	}
	if !judged {
		if looks, size := treesum.CheckLook(dir, changing(dir)...); looks && size > readAtOnce {
			r.sums.Store(dir, verdict{same: true})
			go r.read(dir)
			return true, true
		}
	}
	look, _, err := treesum.Look(dir, changing(dir)...)
	v, _ := was.(verdict)
	if !judged || err != nil || v.look != look {
		if same, known = treesum.Check(dir, changing(dir)...); !known {
			return false, false
		}
		v = verdict{same: same, look: look}
	}
	if !v.same && !v.told && !r.fresh(dir) {
		r.log.Error("a folder of runtimes is damaged or changed: it is made or installed again when it is next needed", "folder", filepath.Base(dir))
		v.told = true
	}
	r.sums.Store(dir, v)
	return v.same, true
}

// restsFor is how long nothing has changed in a folder that is not being copied any more.
const restsFor = 10 * time.Second

// fresh says that a folder may be on its way here: somebody copies it. That shows in the times of change, which no cp -a
// sets.
func (r *Registry) fresh(dir string) bool {
	last, err := treesum.Changed(dir, changing(dir)...)
	return err != nil || time.Since(last) < r.restsFor
}

// whole says whether a folder can be used. One without a sum is of a release that wrote none, or of a copy that has not come
// to the sum, which cp may leave for the end.
func (r *Registry) whole(dir string) bool {
	if same, known := r.sound(dir); known {
		return same
	}
	return isFolder(dir) && !r.fresh(dir)
}

// copied says whether a folder that cannot be used yet may be on its way here.
func (r *Registry) copied(dir string) bool { return isFolder(dir) && !r.whole(dir) && r.fresh(dir) }

// awaitCopy waits for the end of a copy: nothing is fetched for what is about to be here.
func (r *Registry) awaitCopy(ctx context.Context, dir string, progress func(string)) error {
	for told := false; r.copied(dir); told = true {
		if !told {
			progress(filepath.Base(dir) + ": waiting for the end of a copy")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// read reads a whole folder that looks as it should, and lets it be made again when it is not: the next plan finds
// that. It ends by itself, or with the process.
func (r *Registry) read(dir string) {
	r.reading.Lock() // one folder at a time
	defer r.reading.Unlock()
	if same, known := treesum.Check(dir, changing(dir)...); same || !known || !isFolder(dir) {
		return
	}
	r.log.Error("a folder of runtimes was damaged: it is made or installed again when it is next needed", "folder", filepath.Base(dir))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sums.Store(dir, verdict{})
	clear(r.plans)
}

// discard takes a folder away. Sandboxes that have it mounted go on with what they have.
func (r *Registry) discard(dir string) error {
	away, err := os.MkdirTemp(r.dir, ".tmp-old-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(away)
	if err := os.Rename(dir, filepath.Join(away, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.sums.Delete(dir)
	return nil
}
