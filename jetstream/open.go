// Package jetstream keeps the server's records in NATS JetStream, embedded: a NATS server inside this process with its files in the
// data folder and no network listener. It is the only package that imports NATS.
//
// An acknowledged write is on disk: the embedded server syncs every write before it answers.
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

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// ErrInUse is the fact that another process has the folder open.
var ErrInUse = errors.New("data folder is in use by another server")

const (
	startLimit   = 60 * time.Second // recovery of a big folder on a slow disk
	requestLimit = 30 * time.Second // of one write: a sync on a busy disk can take seconds
	maxMemory    = 32 << 20         // nothing of ours is stored in memory; streams of the server's own are
	maxStore     = 64 << 30         // an upper bound; nothing is reserved
)

// Options say where the records are. All members are required.
type Options struct {
	Dir string // made if missing; only this process may have it open
	Log *slog.Logger
}

// Store is an open set of records. It implements function.Store.
type Store struct {
	lock *os.File
	ns   *server.Server
	nc   *nats.Conn
	js   jetstream.JetStream
	kv   jetstream.KeyValue
	log  *slog.Logger
}

// Open starts the embedded server on the folder and waits until all that was acknowledged can be read. The error is ErrInUse when
// another process has it. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("records folder: %w", err)
	}
	s := &Store{log: o.Log}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lockFolder(o.Dir); err != nil {
		return nil, err
	}
	s.ns, err = server.NewServer(&server.Options{
		ServerName:             "thaw",
		DontListen:             true,
		JetStream:              true,
		StoreDir:               filepath.Join(o.Dir, "nats"),
		SyncAlways:             true,
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      maxStore,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		NoSystemAccount:        true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s.ns.SetLoggerV2(natsLog{o.Log}, false, false, false)
	s.ns.Start()
	limit := startLimit
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(d))
	}
	if !s.ns.ReadyForConnections(limit) {
		return nil, fmt.Errorf("embedded NATS server is not ready after %v", limit)
	}
	s.nc, err = nats.Connect("", nats.InProcessServer(s.ns), nats.Name("thaw"), nats.MaxReconnects(-1), nats.Timeout(requestLimit))
	if err != nil {
		return nil, fmt.Errorf("connection to the embedded NATS server: %w", err)
	}
	if s.js, err = jetstream.New(s.nc, jetstream.WithDefaultTimeout(requestLimit)); err != nil {
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	if s.kv, err = s.js.CreateOrUpdateKeyValue(ctx, functionsBucket); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", functionsBucket.Bucket, err)
	}
	return s, nil
}

// Complete implements function.Store.
func (s *Store) Complete() error { return nil }

// Close ends the connection and the server and waits until their files are closed. Stop every Watch before. It may be called twice.
func (s *Store) Close() {
	if s.nc != nil {
		s.nc.Close()
		s.nc = nil
	}
	if s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.ns = nil
	}
	if s.lock != nil {
		s.lock.Close() // unlocks
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

// natsLog gives the embedded server's words to ours. Its notices are for people who run NATS: debug here.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Warnf(format string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Fatalf(format string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Errorf(format string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Debugf(string, ...any)           {}
func (l natsLog) Tracef(string, ...any)           {}
