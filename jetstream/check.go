package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thaw/jetstream/journal"
	"thaw/snapshot"
)

// buckets are all that a folder has.
var buckets = []jetstream.KeyValueConfig{functionsBucket, snapshotsBucket, layersBucket, signingBucket, mappingsBucket, checkpointsBucket,
	pushBucket}

// journaled marks a bucket whose writes are in a journal: where that is missing it was lost.
const journaled = "journaled"

// check opens the broker and the journal and makes both have what they have together. A broker that lacks something, or
// cannot be read, is made anew; what was there is set aside first, and so is everything when it is not known that
// nothing is missing.
func (s *Store) check(ctx context.Context, used bool) error {
	found, err := journal.Read(s.dir)
	if err != nil {
		return err
	}
	deaths, err := s.deaths()
	if err != nil {
		return err
	}
	_, err = os.Stat(s.brokerDir())
	empty := errors.Is(err, fs.ErrNotExist)
	if found.Exists && !found.Whole() && found.Incomplete == "" {
		if _, err := s.setAside(true); err != nil { // opening a damaged broker changes it
			return err
		}
	}
	var b brokerRead
	switch {
	case empty:
		b.readable = !found.Exists
	case deaths > 1 || deaths > 0 && found.Whole():
		s.log.Warn("the last start ended while it opened the records: the broker is made anew", "starts", deaths)
	default:
		if err := s.setDeaths(deaths + 1); err != nil {
			return err
		}
		if b, err = s.read(ctx); err != nil && !found.Whole() && !found.Exists {
			return fmt.Errorf("%w; if this stays so, the records are damaged; type: thaw restore FILE, with a backup", err)
		} else if err != nil {
			s.log.Error("the broker of the records cannot be read", "error", err)
		}
	}
	v := found.Judge(b.writes, b.readable)
	if !found.Exists {
		v.Incomplete, v.Journal = "", nil
		switch {
		case b.journaled:
			v.Incomplete = "records may be missing; the journal and its mark are missing"
		case !b.readable:
			v.Incomplete = "records may be missing; the broker's records are damaged"
		case len(v.Writes) == 0 && used:
			v.Incomplete = "the records are missing, and there is code or a snapshot of functions"
		}
	}
	if err := s.mend(ctx, found, &v, b.readable && len(v.Broker) == 0, empty); err != nil {
		return err
	}
	s.tellLost(v)
	return s.setDeaths(0)
}

// mend makes broker and journal as the verdict says they are.
func (s *Store) mend(ctx context.Context, found *journal.Found, v *journal.Verdict, brokerGood, brokerEmpty bool) (err error) {
	if brokerGood && s.broker != nil {
		err = s.makeBuckets(ctx, nil)
	} else {
		if found.Exists && !brokerEmpty {
			s.log.Error("records in the broker were damaged or lost: they are made anew from the journal", "lost", described(v.Broker))
		} else if found.Exists {
			s.log.Info("the broker of the records is made from the journal")
		}
		err = s.rebuild(ctx, v)
	}
	if err != nil {
		return err
	}
	switch {
	case found.Whole() && brokerGood:
		if s.journal, err = journal.Open(s.dir, found); err != nil {
			return err
		}
		if len(v.Journal) == 0 {
			return nil
		}
		s.log.Info("records that the broker had taken and the journal had not", "records", described(v.Journal)) // killed in between
	case found.Exists && !found.Whole() && found.Incomplete == "":
		s.log.Error("the journal of the records was damaged", "damage", found.Damage(), "lost", described(v.Journal))
	}
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			return err
		}
	}
	s.journal, err = journal.Create(s.dir, v.Writes, v.Last, v.Incomplete)
	return err
}

// tellLost says what is known to be missing.
func (s *Store) tellLost(v journal.Verdict) {
	if v.Incomplete == "" {
		return
	}
	s.log.Error("RECORDS ARE NOT KNOWN TO BE COMPLETE. What is whole is served, and nothing is deleted by itself. "+
		"To go back to a backup, stop the server and type: thaw restore FILE. To go on with what is there: thaw restore --accept-loss",
		"reason", v.Incomplete, "set_aside", filepath.Join(s.dir, asideFolder))
}

// Complete implements function.Store.
func (s *Store) Complete() error {
	if why := s.journal.Incomplete(); why != "" {
		return errors.New(why)
	}
	return nil
}

// Snapshot is all records that are live, and the last revision of each bucket, at one moment.
func (s *Store) Snapshot() ([]journal.Write, map[string]uint64, error) { return s.journal.Snapshot() }

// brokerRead is what the broker gave.
type brokerRead struct {
	writes    []journal.Write
	readable  bool // all of it
	journaled bool
}

// read starts the broker and reads what it has, the deletions included.
func (s *Store) read(ctx context.Context) (b brokerRead, err error) {
	if err := s.start(ctx); err != nil {
		return b, err
	}
	b.readable = true
	for _, c := range buckets {
		kv, err := s.js.KeyValue(ctx, c.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			continue
		}
		if err != nil {
			return brokerRead{writes: b.writes}, fmt.Errorf("bucket %s: %w", c.Bucket, err)
		}
		status, err := kv.Status(ctx)
		if err != nil {
			return brokerRead{writes: b.writes}, fmt.Errorf("bucket %s: %w", c.Bucket, err)
		}
		b.journaled = b.journaled || status.Metadata()[journaled] != ""
		if err := s.readBucket(ctx, kv, &b); err != nil {
			b.readable = false
			return b, fmt.Errorf("bucket %s: %w", c.Bucket, err)
		}
	}
	return b, nil
}

func (s *Store) readBucket(ctx context.Context, kv jetstream.KeyValue, b *brokerRead) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer w.Stop() //nolint:errcheck // nothing to stop when the connection is gone
	stalled := time.NewTimer(s.patience)
	defer stalled.Stop()
	for n := 0; ; n++ {
		select {
		case e, open := <-w.Updates():
			if !open {
				return errors.New("the broker ended the reading")
			}
			if e == nil {
				return nil
			}
			b.writes = append(b.writes, journal.Write{Bucket: kv.Bucket(), Key: e.Key(), Revision: e.Revision(),
				Deleted: e.Operation() != jetstream.KeyValuePut, Value: e.Value()})
			stalled.Reset(s.patience)
		case <-stalled.C:
			return fmt.Errorf("after %d records no other came within %v", n, s.patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// makeBuckets makes the buckets that are missing, with first revisions by name, and marks those that are from before
// the journal.
func (s *Store) makeBuckets(ctx context.Context, first map[string]uint64) error {
	for _, c := range buckets {
		c.Metadata = map[string]string{journaled: "1"}
		kv, err := s.js.KeyValue(ctx, c.Bucket)
		if err == nil {
			status, err := kv.Status(ctx)
			if err == nil && status.Metadata()[journaled] == "" {
				_, err = s.js.UpdateKeyValue(ctx, c)
			}
			if err != nil {
				return fmt.Errorf("bucket %s: %w", c.Bucket, err)
			}
			continue
		}
		if !errors.Is(err, jetstream.ErrBucketNotFound) {
			return fmt.Errorf("bucket %s: %w", c.Bucket, err)
		}
		if first[c.Bucket] == 0 {
			if _, err := s.js.CreateKeyValue(ctx, c); err != nil {
				return fmt.Errorf("bucket %s: %w", c.Bucket, err)
			}
			continue
		}
		// The key-value client knows no first revision: this is what it makes otherwise. Source: NATS ADR-8, "stream
		// configuration".
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: "KV_" + c.Bucket, Description: c.Description, Subjects: []string{"$KV." + c.Bucket + ".>"},
			MaxMsgsPerSubject: 1, MaxBytes: -1, MaxMsgSize: -1, MaxMsgs: -1, MaxConsumers: -1, Storage: c.Storage, Replicas: 1, AllowRollup: true, DenyDelete: true,
			AllowDirect: true, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, FirstSeq: first[c.Bucket], Metadata: c.Metadata})
		if err != nil {
			return fmt.Errorf("bucket %s: %w", c.Bucket, err)
		}
	}
	return nil
}

// rebuild makes a broker of the records alone; what was there is set aside. Revisions go on where they were, so none is
// given twice.
func (s *Store) rebuild(ctx context.Context, v *journal.Verdict) error {
	s.stop()
	if _, err := s.setAside(false); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	first := map[string]uint64{}
	for name, last := range v.Last {
		first[name] = last + 1
	}
	if err := s.makeBuckets(ctx, first); err != nil {
		return err
	}
	kvs := map[string]jetstream.KeyValue{}
	for i := range v.Writes {
		w := &v.Writes[i]
		kv := kvs[w.Bucket]
		if kv == nil {
			var err error
			if kv, err = s.js.KeyValue(ctx, w.Bucket); err != nil {
				return fmt.Errorf("bucket %s: %w", w.Bucket, err)
			}
			kvs[w.Bucket] = kv
		}
		now, err := kv.Put(ctx, w.Key, w.Value)
		if err != nil {
			return fmt.Errorf("record %s: %w", w.Key, err)
		}
		w.Revision = now
		v.Last[w.Bucket] = now
	}
	return nil
}

const (
	asideFolder = "set-aside"
	asideKept   = 5
)

// setAside keeps what is in the folder now under the time's name: a copy of everything, or the broker's files themselves.
func (s *Store) setAside(all bool) (to string, err error) {
	if _, err := os.Stat(s.brokerDir()); errors.Is(err, fs.ErrNotExist) && !all {
		return "", nil
	}
	aside := filepath.Join(s.dir, asideFolder)
	to = filepath.Join(aside, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return "", fmt.Errorf("damaged records: %w", err)
	}
	if all {
		for _, name := range append([]string{brokerFolder}, journal.Files...) {
			if err := copyTree(filepath.Join(s.dir, name), filepath.Join(to, name)); err != nil {
				return "", fmt.Errorf("copy of damaged records: %w", err)
			}
		}
	} else if err := os.Rename(s.brokerDir(), filepath.Join(to, brokerFolder)); err != nil {
		return "", fmt.Errorf("damaged records: %w", err)
	}
	list, err := os.ReadDir(aside)
	if err != nil {
		return "", fmt.Errorf("damaged records: %w", err)
	}
	for len(list) > asideKept { // by name, so by time
		if err := os.RemoveAll(filepath.Join(aside, list[0].Name())); err != nil {
			return "", fmt.Errorf("damaged records: %w", err)
		}
		list = list[1:]
	}
	return to, nil
}

// copyTree copies a file or a folder; one that is not there is no error.
func copyTree(from, to string) error {
	info, err := os.Stat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return os.CopyFS(to, os.DirFS(from))
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// openingFile says that a start is opening the broker, and how many before it died of that: damage may make the broker panic.
const openingFile = "opening"

func (s *Store) deaths() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, openingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("records: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 1 {
		n = 1
	}
	return n, nil
}

func (s *Store) setDeaths(n int) error {
	path := filepath.Join(s.dir, openingFile)
	var err error
	if n == 0 {
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = os.WriteFile(path, []byte(strconv.Itoa(n)), 0o600)
	}
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	return nil
}

// described names records as people know them: at most twenty.
func described(keys []string) []string {
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		bucket, key, _ := strings.Cut(k, " ")
		out = append(out, describe(bucket, key))
	}
	slices.Sort(out)
	if len(out) > 20 {
		out = append(out[:20], fmt.Sprintf("and %d more", len(out)-20))
	}
	return out
}

func describe(bucket, key string) string {
	if bucket == layersBucket.Bucket {
		return describeLayer(key)
	}
	if bucket == snapshotsBucket.Bucket {
		if arn, err := noPadding.DecodeString(strings.ToUpper(key)); err == nil {
			if v, err := snapshot.ParseVersion(string(arn)); err == nil {
				return fmt.Sprintf("snapshot of %s", v)
			}
		}
	}
	if bucket == signingBucket.Bucket {
		if arn, err := noPadding.DecodeString(strings.ToUpper(key)); err == nil {
			return "code signing configuration " + string(arn)
		}
	}
	if bucket == mappingsBucket.Bucket {
		return "event source mapping " + key
	}
	if bucket == checkpointsBucket.Bucket {
		id, shard, _ := strings.Cut(key, ".")
		if name, err := noPadding.DecodeString(strings.ToUpper(shard)); err == nil {
			return fmt.Sprintf("checkpoint of event source mapping %s in %s", id, name)
		}
	}
	if bucket == pushBucket.Bucket {
		if what := describeDocument(key); what != "" {
			return what
		}
	}
	if k, _, number, ok := parseKey(key); ok && bucket == functionsBucket.Bucket {
		if number > 0 {
			return fmt.Sprintf("version %d of %s in %s", number, k.Name, k.Region)
		}
		return fmt.Sprintf("function %s in %s", k.Name, k.Region)
	}
	return key
}

// revisionMargin is more revisions than are given between a backup and its use: none is given twice.
const revisionMargin = 1_000_000

// Replace makes these the records of a folder that nobody has open, and returns where what was there is set aside. The
// next Open makes the broker of them.
func Replace(dir string, records []journal.Write, last map[string]uint64) (aside string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("records folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return "", err
	}
	defer unlockFolder(lock)
	s := &Store{dir: dir}
	if aside, err = s.setAside(true); err != nil {
		return "", err
	}
	given := map[string]uint64{}
	if found, err := journal.Read(dir); err == nil {
		given = found.Judge(nil, false).Last
	}
	for _, b := range buckets {
		given[b.Bucket] = max(given[b.Bucket], last[b.Bucket]) + revisionMargin
	}
	if err := os.RemoveAll(s.brokerDir()); err != nil {
		return "", fmt.Errorf("records folder: %w", err)
	}
	j, err := journal.Create(dir, records, given, "")
	if err != nil {
		return "", err
	}
	return aside, j.Close()
}

// AcceptLoss makes what is in a folder, which nobody has open, count as complete. It returns what was said to be
// missing, and where everything as it was is set aside; both are empty when nothing was missing.
func AcceptLoss(ctx context.Context, o Options) (lost, aside string, err error) {
	s, err := Open(ctx, o)
	if err != nil {
		return "", "", err
	}
	defer s.Close()
	if lost = s.journal.Incomplete(); lost == "" {
		return "", "", nil
	}
	if aside, err = s.setAside(true); err != nil {
		return "", "", err
	}
	records, last, err := s.Snapshot()
	if err != nil {
		return "", "", err
	}
	j, err := journal.Create(s.dir, records, last, "")
	if err != nil {
		return "", "", err
	}
	err = s.journal.Close()
	s.journal = j
	return lost, aside, err
}
