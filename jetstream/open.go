// Package jetstream keeps the server's records in NATS JetStream, embedded: a NATS server inside this process with its files in the
// data folder and no network listener. This package and those below it alone import NATS.
//
// An acknowledged write is on disk, twice: the embedded server syncs every write before it answers, and then the journal does.
//
// Owner: whoever called Open owns the Store and everything in it; each Watch owns one goroutine until its stop.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"thaw/jetstream/broker"
	"thaw/jetstream/journal"
)

// ErrInUse is the fact that another process has the folder open.
var ErrInUse = errors.New("data folder is in use by another server")

const (
	maxMemory = 32 << 20 // nothing of ours is stored in memory; streams of the server's own are
	maxRecord = 8 << 20  // bytes; an API of API Gateway is one record with all its deployments
	maxStore  = 64 << 30 // an upper bound; nothing is reserved
)

// Options say where the records are. Dir and Log are required.
type Options struct {
	Dir string // made if missing; only this process may have it open
	Log *slog.Logger
	// Used says that there are things which only records can have named: an empty folder then means that they are lost.
	Used bool
	// Patience is how long the embedded server may take for the next record when all are read at start; 0: 5 s. One
	// that has lost some waits for ever.
	Patience time.Duration
}

// Store is an open set of records. It implements function.Store.
type Store struct {
	dir      string
	patience time.Duration
	lock     *os.File
	journal  *journal.Journal
	broker   *broker.Broker // nil: it does not run
	js       jetstream.JetStream
	kv       jetstream.KeyValue // of functions
	log      *slog.Logger
}

// Open starts the embedded server on the folder and waits until all that was acknowledged can be read. What the server
// has lost it gets back from the journal (check.go); what is lost in both is told to the log, and by Complete. The
// error is ErrInUse when another process has the folder. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("records folder: %w", err)
	}
	s := &Store{dir: o.Dir, patience: o.Patience, log: o.Log}
	if s.patience == 0 {
		s.patience = 5 * time.Second
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lockFolder(o.Dir); err != nil {
		return nil, err
	}
	if err := s.check(ctx, o.Used); err != nil {
		return nil, err
	}
	if s.kv, err = s.js.KeyValue(ctx, functionsBucket.Bucket); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", functionsBucket.Bucket, err)
	}
	return s, nil
}

const brokerFolder = "nats"

func (s *Store) brokerDir() string { return filepath.Join(s.dir, brokerFolder) }

// start starts the broker.
func (s *Store) start(ctx context.Context) (err error) {
	s.broker, err = broker.Start(ctx, broker.Options{
		Name:       "thaw",
		Dir:        s.brokerDir(),
		Log:        s.log,
		SyncAlways: true,
		MaxMemory:  maxMemory,
		MaxStore:   maxStore,
		MaxMessage: maxRecord,
	})
	if errors.Is(err, broker.ErrStuck) {
		return fmt.Errorf("%w; start again: it is then made anew if the journal allows", err)
	}
	if err != nil {
		return err
	}
	s.js = s.broker.JS
	return nil
}

// stop ends what start began.
func (s *Store) stop() {
	s.broker.Stop()
	s.broker = nil
}

// Close ends the connection and the server and waits until their files are closed. Stop every Watch before. It may be
// called twice.
func (s *Store) Close() {
	s.stop()
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			s.log.Error("journal of records not closed well", "error", err)
		}
		s.journal = nil
	}
	if s.lock != nil {
		unlockFolder(s.lock)
		s.lock = nil
	}
}

// lockFolder keeps two servers out of one folder; the kernel lets go when the process dies.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("records lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("records lock: %w", err)
	}
	return f, nil
}

// unlockFolder unlocks and closes: a child that is being started at this moment has the file, too, until it executes its
// program, and would hold the lock as long.
func unlockFolder(f *os.File) {
	unix.Flock(int(f.Fd()), unix.LOCK_UN) //nolint:errcheck // closing unlocks it at the latest
	f.Close()
}
