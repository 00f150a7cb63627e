package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"thaw/objects"
	"thaw/trigger"
)

const (
	// settle is how long a file must not have changed that a look found, and of which nobody knows whether it is still
	// being written.
	settle = 2 * time.Second
	// again is the pause before a folder is tried again that could not be watched.
	again = 2 * time.Second
)

// folder watches one folder and tells a function of it. Everything but end belongs to its goroutine.
type folder struct {
	s       *Service
	t       *Trigger
	ctx     context.Context
	stop    context.CancelFunc
	done    chan struct{}
	told    *told
	root    *os.Root
	watch   *watcher
	pending map[string]time.Time // files to look at again, and when
	last    int64                // sequencer
}

// watch begins with a folder.
func (s *Service) watch(t *Trigger) {
	f := &folder{s: s, t: t, done: make(chan struct{}), pending: map[string]time.Time{}}
	f.ctx, f.stop = context.WithCancel(s.ctx)
	s.mu.Lock()
	s.folders[t.Name] = f
	s.mu.Unlock()
	s.work.Go(f.run)
}

// end waits until the folder is not watched any more, and forgets what was told of it.
func (f *folder) end() {
	f.stop()
	<-f.done
	os.Remove(f.toldPath()) //nolint:errcheck // an old list is overwritten by the next trigger of the name
}

func (f *folder) toldPath() string { return filepath.Join(f.s.o.Dir, f.t.Name+".told") }

// run watches until the end; a folder that is not there, or not any more, is waited for.
func (f *folder) run() {
	defer close(f.done)
	for f.ctx.Err() == nil {
		err := f.session()
		if f.ctx.Err() != nil {
			return
		}
		f.s.told(f.t, fmt.Errorf("folder %s: %w", f.t.Dir, err))
		f.s.o.Log.Warn("folder not watched", "trigger", f.t.Name, "error", err)
		f.wait(again)
	}
}

func (f *folder) wait(d time.Duration) {
	select {
	case <-f.ctx.Done():
	case <-time.After(d):
	}
}

// session watches as long as the folder can be.
func (f *folder) session() (err error) {
	list, fresh, err := openTold(f.toldPath())
	if err != nil {
		return err
	}
	f.told = list
	defer list.close()
	if f.root, err = os.OpenRoot(f.t.Dir); err != nil {
		return err
	}
	defer f.root.Close()
	if f.watch, err = openWatcher(f.t.Dir); err != nil {
		return err
	}
	reading := make(chan struct{})
	go func() { defer close(reading); f.watch.read(f.ctx.Done()) }()
	defer func() {
		f.watch.close()
		for range f.watch.raw { // what nobody wants any more, so that the reader ends
		}
		<-reading
	}()
	// What lies there before the trigger is made is no news, as with a bucket.
	if err := f.lookAtAll(fresh && !f.t.Existing); err != nil {
		return err
	}
	return f.follow()
}

// follow takes changes as they come.
func (f *folder) follow() error {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return nil
		case list, ok := <-f.watch.raw:
			if !ok {
				return errors.New("the watch has ended")
			}
			for _, r := range list {
				if c, ok := f.watch.named(r); ok {
					if err := f.take(c); err != nil {
						return err
					}
				}
			}
		case <-timer.C:
			for name, due := range maps.Clone(f.pending) {
				if time.Now().After(due) {
					f.look(name)
				}
			}
			if !f.same() {
				return errMoved
			}
			timer.Reset(settle / 2)
		}
	}
}

// same says whether the path still leads to the folder that is watched. The kernel does not tell that one is gone which
// somebody has open.
func (f *folder) same() bool {
	is, err := os.Stat(f.t.Dir)
	if err != nil {
		return false
	}
	was, err := f.root.Stat(".")
	return err == nil && os.SameFile(is, was)
}

var errMoved = errors.New("it is gone or has another name")

// take handles one change.
func (f *folder) take(c change) error {
	switch {
	case c.is(unix.IN_Q_OVERFLOW): // the kernel has forgotten some
		return f.lookAtAll(false)
	case c.is(unix.IN_DELETE_SELF | unix.IN_MOVE_SELF):
		if c.name == "" {
			return errMoved
		}
	case hidden(c.name):
	case c.is(unix.IN_ISDIR) && c.is(unix.IN_CREATE|unix.IN_MOVED_TO):
		return f.lookInto(c.name, map[string]bool{})
	case c.is(unix.IN_ISDIR) && c.is(unix.IN_MOVED_FROM):
		f.watch.forget(c.name)
		for name := range maps.Clone(f.told.files) {
			if strings.HasPrefix(name, c.name+"/") {
				f.gone(name)
			}
		}
	case c.is(unix.IN_ISDIR):
	case c.is(unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO):
		delete(f.pending, c.name)
		f.found(c.name, false)
	case c.is(unix.IN_CREATE): // a link is complete when it is made; what is written is closed later
		if info, err := f.root.Lstat(c.name); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
				f.found(c.name, false)
			}
		}
	case c.is(unix.IN_DELETE | unix.IN_MOVED_FROM):
		f.gone(c.name)
	}
	return nil
}

// hidden says that a file or a folder above it begins with a dot: what tools write while they are not done.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

// lookAtAll compares the whole tree with what was told. known: all of it counts as told.
func (f *folder) lookAtAll(known bool) error {
	if known {
		return f.note()
	}
	there := map[string]bool{}
	if err := f.lookInto("", there); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(f.told.files)) {
		if !there[name] {
			f.gone(name)
		}
	}
	return nil
}

// note counts everything that is there as told.
func (f *folder) note() error {
	was := f.told.files
	if err := f.walk("", map[string]bool{}, func(name string) {
		if info, err := f.root.Lstat(name); err == nil {
			was[name] = stampOf(info)
		}
	}); err != nil {
		return err
	}
	return f.told.rewrite()
}

// lookInto watches a folder and all below, and looks at their files.
func (f *folder) lookInto(dir string, there map[string]bool) error {
	return f.walk(dir, there, f.look)
}

// walk watches a folder before it reads it, so that nothing comes in between unseen.
func (f *folder) walk(dir string, there map[string]bool, file func(name string)) error {
	if err := f.watch.add(dir); err != nil {
		if dir != "" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	d, err := f.root.Open(path.Join(".", dir))
	if err != nil {
		if dir != "" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case hidden(name):
		case e.IsDir():
			if err := f.walk(name, there, file); err != nil {
				return err
			}
		case e.Type().IsRegular():
			there[name] = true
			file(name)
		}
	}
	return nil
}

// look is found for a file of which nobody said that it is closed.
func (f *folder) look(name string) { f.found(name, true) }

// found tells of a file that is new or has changed. unsure: it may still be written, and is looked at again when it has
// been at rest.
func (f *folder) found(name string, unsure bool) {
	delete(f.pending, name)
	info, err := f.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	is := stampOf(info)
	if was, ok := f.told.files[name]; ok && was == is {
		return
	}
	if rest := time.Since(info.ModTime()); unsure && rest >= 0 && rest < settle {
		f.pending[name] = info.ModTime().Add(settle)
		return
	}
	size := info.Size()
	r := f.record("ObjectCreated:Put", name)
	r.Size, r.ETag = &size, objects.ETag(f.root, name, info)
	if f.tell(&r) {
		f.written(f.told.note(name, &is))
	}
}

// gone tells that a file is not there any more, if it was told that it is.
func (f *folder) gone(name string) {
	delete(f.pending, name)
	if _, ok := f.told.files[name]; !ok {
		return
	}
	r := f.record("ObjectRemoved:Delete", name)
	if f.tell(&r) {
		f.written(f.told.note(name, nil))
	}
}

// written says what goes wrong with the list: then files are told again after a restart.
func (f *folder) written(err error) {
	if err != nil {
		f.s.told(f.t, fmt.Errorf("the list of files that were told: %w", err))
	}
}

func (f *folder) record(event, name string) trigger.S3Record {
	now := time.Now()
	f.last = max(f.last+1, now.UnixNano())
	return trigger.S3Record{Name: event, Time: now, Principal: "thaw", SourceIP: "127.0.0.1", Bucket: f.t.Bucket,
		Owner: "thaw", Key: name, Sequencer: fmt.Sprintf("%018X", f.last)}
}

// tell waits until the function's queue has the event: a folder's changes keep their order, and none is lost while the
// function cannot be told. false: the trigger ends.
func (f *folder) tell(r *trigger.S3Record) bool {
	if !f.t.Filter.Wants(r) {
		return true
	}
	traced := f.s.traceOf(f.t.Bucket, r.Key)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := f.s.tell(f.ctx, f.t, *r, traced)
		if err == nil {
			return true
		}
		f.s.o.Log.Warn("file not told", "trigger", f.t.Name, "fn", f.t.Function.Name(), "error", err)
		if f.wait(pause); f.ctx.Err() != nil {
			return false
		}
	}
}
