package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thaw/admin"
	"thaw/backup"
	"thaw/blob"
	"thaw/internal/cleanup"
	"thaw/jetstream"
	"thaw/jetstream/journal"
)

// Backups that a server makes by itself hold records only: packages never change, and lie on the same disk.
const (
	backupEvery = 24 * time.Hour
	backupsKept = 7 // of this version, and of the others together
	autoPrefix  = "auto-"
	autoTime    = "20060102T150405Z"
)

// versionInName is this version as names of files have it: a release may be named after a branch with a slash.
func versionInName() string { return strings.ReplaceAll(Version, "/", "_") }

// backups copies the records of a server out, now and then and before anything that a server of another version might
// do to them.
type backups struct {
	dir   string
	store *jetstream.Store
	log   *slog.Logger
	now   func() time.Time
}

// openBackups makes the backup that is due at a start and returns how to end those that follow.
func openBackups(dir string, store *jetstream.Store, log *slog.Logger) (end func() error, err error) {
	b := &backups{dir: dir, store: store, log: log, now: time.Now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("backups folder: %w", err)
	}
	if halves, err := filepath.Glob(filepath.Join(dir, ".backup-*")); err == nil { // of a server that was killed
		for _, h := range halves {
			os.Remove(h)
		}
	}
	if store.Complete() != nil {
		if newest := b.newest(""); newest != "" {
			log.Error("the newest backup of the records, without code packages", "file", newest)
		}
	}
	b.look()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Hour)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				b.look()
			}
		}
	}()
	return func() error { stop(); <-done; return nil }, nil
}

// look makes a backup when one is due. One that fails keeps nobody from starting: the next look tries again.
func (b *backups) look() {
	if b.store.Complete() != nil { // a backup of what is left must not push out one of what was lost
		return
	}
	if err := b.make(); err != nil {
		b.log.Error("records not backed up", "error", err)
	}
}

func (b *backups) make() error {
	now := b.now().UTC()
	records, last, err := b.store.Snapshot()
	if err != nil || len(records) == 0 {
		return err
	}
	if newest := b.newest(versionInName()); newest != "" {
		if now.Sub(b.madeAt(newest)) < backupEvery {
			return nil
		}
		if c, err := backup.ReadFile(newest, nil); err == nil && maps.Equal(c.Head.Last, last) { // nothing was written since
			return nil
		}
	}
	path := filepath.Join(b.dir, autoPrefix+now.Format(autoTime)+"-"+versionInName()+".tar")
	_, err = backup.ToFile(path, func(w io.Writer) error {
		return backup.Write(context.Background(), w, backup.Source{Version: Version, Now: now,
			Records: func() ([]journal.Write, map[string]uint64, error) { return records, last, nil }})
	})
	if err != nil {
		return err
	}
	b.log.Info("records backed up", "file", path)
	return b.prune()
}

// list is what is there, oldest first: of one version, or with an empty one of all.
func (b *backups) list(version string) (paths []string) {
	all, _ := filepath.Glob(filepath.Join(b.dir, autoPrefix+"*.tar")) // the pattern is right
	for _, p := range all {
		if version == "" || strings.HasSuffix(p, "Z-"+version+".tar") {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func (b *backups) newest(version string) string {
	if list := b.list(version); len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

// madeAt is the time in a name; the zero time when there is none.
func (b *backups) madeAt(path string) time.Time {
	text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), autoPrefix), "-")
	at, _ := time.Parse(autoTime, text)
	return at
}

func (b *backups) prune() error {
	mine := b.list(versionInName())
	others := slices.DeleteFunc(b.list(""), func(p string) bool { return slices.Contains(mine, p) })
	var errs []error
	for _, l := range [][]string{mine, others} {
		for len(l) > backupsKept {
			errs = append(errs, os.Remove(l[0]))
			l = l[1:]
		}
	}
	return errors.Join(errs...)
}

// backupSource is a backup of a data folder whose records and packages are open.
func backupSource(dataDir string, store *jetstream.Store, blobs *blob.Store, recordsOnly bool) backup.Source {
	s := backup.Source{Version: Version, Now: time.Now(), Records: store.Snapshot, Named: jetstream.Named, Conf: filepath.Join(dataDir, "thaw.conf")}
	if !recordsOnly {
		s.Packages = blobs
	}
	if err := store.Complete(); err != nil {
		s.Incomplete = err.Error()
	}
	return s
}

// Backup writes a backup of a data folder that no server has; admin.Client.Backup asks a running one.
// *admin.RunningError when one has it.
func Backup(ctx context.Context, dataDir string, recordsOnly bool, log *slog.Logger, w io.Writer) (err error) {
	var undo cleanup.Stack
	defer func() { err = errors.Join(err, undo.Run()) }()
	if _, err := os.Stat(filepath.Join(dataDir, "records")); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	release, err := admin.Claim(dataDir)
	if err != nil {
		return err
	}
	undo.Add(release)
	store, err := jetstream.Open(ctx, recordsOf(dataDir, log))
	if err != nil {
		return err
	}
	undo.Add(func() error { store.Close(); return nil })
	blobs, err := blob.Open(filepath.Join(dataDir, "blobs"))
	if err != nil {
		return err
	}
	undo.Add(blobs.Close)
	return backup.Write(ctx, w, backupSource(dataDir, store, blobs, recordsOnly))
}

// recordsOf opens the records of a data folder.
func recordsOf(dataDir string, log *slog.Logger) jetstream.Options {
	dir := func(name string) string { return filepath.Join(dataDir, name) }
	return jetstream.Options{Dir: dir("records"), Used: holdsFiles(dir("blobs"), dir("snapshots/store/manifest")), Log: log}
}

// Restored says what a restore did.
type Restored struct {
	Backup backup.Head `json:"backup"`
	// Functions and Packages are counts; Missing are packages that records name and that are neither in the backup nor
	// in the data folder.
	Functions int      `json:"functions"`
	Packages  int      `json:"packages"`
	Missing   []string `json:"missing,omitempty"`
	Aside     string   `json:"aside"`          // where the records and packages of before are
	Conf      string   `json:"conf,omitempty"` // where the backup's thaw.conf was written; empty: the folder has one, or the backup none
}

// Restore makes the records of a backup those of a data folder, which no server may have, and adds the backup's
// packages. Everything is checked before anything is changed. *admin.RunningError when a server has the folder.
func Restore(ctx context.Context, file, dataDir string) (_ *Restored, err error) {
	c, err := backup.ReadFile(file, nil)
	if err != nil {
		return nil, err
	}
	var undo cleanup.Stack
	defer func() { err = errors.Join(err, undo.Run()) }()
	if err := makePrivate(dataDir); err != nil {
		return nil, err
	}
	release, err := admin.Claim(dataDir)
	if err != nil {
		return nil, err
	}
	undo.Add(release)
	dir := filepath.Join(dataDir, "blobs")
	blobs, err := blob.Open(dir)
	if err != nil {
		return nil, err
	}
	undo.Add(blobs.Close)
	before := packagesIn(dir)
	_, err = backup.ReadFile(file, func(sum string, b []byte) error {
		_, _, err := blobs.Put(ctx, strings.NewReader(string(b)))
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &Restored{Backup: c.Head, Packages: c.Code}
	for _, sum := range jetstream.Named(c.Records) {
		if there, err := blobs.Exists(ctx, sum); err != nil {
			return nil, err
		} else if !there {
			r.Missing = append(r.Missing, sum)
		}
	}
	r.Functions = jetstream.Functions(c.Records)
	if r.Aside, err = jetstream.Replace(filepath.Join(dataDir, "records"), c.Records, c.Head.Last); err != nil {
		return nil, err
	}
	if err := keepPackages(dir, before, r.Aside); err != nil {
		return nil, err
	}
	conf := filepath.Join(dataDir, "thaw.conf")
	if c.Conf != nil {
		f, err := os.OpenFile(conf, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(c.Conf)
			err = cmp.Or(err, f.Close())
			r.Conf = conf
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return r, nil
}

// AcceptLoss makes a data folder's records count as complete, as they are. It returns what was said to be missing, and
// where everything of before is.
func AcceptLoss(ctx context.Context, dataDir string, log *slog.Logger) (lost, aside string, err error) {
	if _, err := os.Stat(dataDir); err != nil {
		return "", "", fmt.Errorf("data folder: %w", err)
	}
	release, err := admin.Claim(dataDir)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, release()) }()
	lost, aside, err = jetstream.AcceptLoss(ctx, recordsOf(dataDir, log))
	if err == nil && aside != "" {
		blobs := filepath.Join(dataDir, "blobs")
		err = keepPackages(blobs, packagesIn(blobs), aside)
	}
	return lost, aside, err
}

// packagesIn are the files of a blob folder, relative to it.
func packagesIn(dir string) (files []string) {
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error { //nolint:errcheck // what cannot be read cannot be kept
		if rel, e := filepath.Rel(dir, p); err == nil && e == nil && d.Type().IsRegular() {
			files = append(files, rel)
		}
		return nil
	})
	return files
}

// keepPackages links packages into a folder that is set aside: the next start sweeps those that the records no longer
// name, and who takes a restore back needs them.
func keepPackages(dir string, files []string, aside string) error {
	for _, f := range files {
		to := filepath.Join(aside, "blobs", f)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("packages set aside: %w", err)
		}
		if err := os.Link(filepath.Join(dir, f), to); err != nil {
			return fmt.Errorf("packages set aside: %w", err)
		}
	}
	return nil
}
