// Package broker is a NATS server with JetStream inside this process: its files are in one folder, it has no network
// listener, and this package alone knows how it is started and ended. Whoever starts one decides what is in it, how
// durable a write is, and what becomes of a folder that is damaged.
//
// Owner: whoever called Start, until Stop.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// StartLimit is how long a start may take: recovery of a big folder on a slow disk.
	StartLimit   = 60 * time.Second
	pending      = 32_000           // writes that were not answered yet, of those who write without waiting for each
	requestLimit = 30 * time.Second // of one write: a sync on a busy disk can take seconds
)

// Options say what a broker is. All but MaxMessage are required.
type Options struct {
	Name       string
	Dir        string // only this process may have it open
	Log        *slog.Logger
	SyncAlways bool  // a write is on the disk before it is acknowledged; otherwise the kernel has it
	MaxMemory  int64 // of streams in memory, in bytes; the server's own are there
	MaxStore   int64 // of files, in bytes: an upper bound, nothing is reserved
	MaxMessage int32 // bytes; 0: 1 MiB
}

// ErrStuck is the fact that the server does not return from its folder.
var ErrStuck = errors.New("embedded NATS server does not start")

// Broker is a server that runs.
type Broker struct {
	JS   jetstream.JetStream
	ns   *server.Server
	conn *nats.Conn
}

// Start returns when the server has read its folder. ctx bounds that. A folder may be so damaged that the server never
// returns from it: after the limit its goroutine is left behind, and the folder must be set aside before the next start.
func Start(ctx context.Context, o Options) (_ *Broker, err error) {
	b := &Broker{}
	b.ns, err = server.NewServer(&server.Options{
		ServerName:             o.Name,
		DontListen:             true,
		JetStream:              true,
		StoreDir:               o.Dir,
		SyncAlways:             o.SyncAlways,
		JetStreamMaxMemory:     o.MaxMemory,
		JetStreamMaxStore:      o.MaxStore,
		MaxPayload:             o.MaxMessage,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
		NoSystemAccount:        true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	b.ns.SetLoggerV2(words{o.Log}, false, false, false)
	limit := StartLimit
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(d))
	}
	began := make(chan struct{})
	go func() { // ends with the process when damage keeps it from returning: there is no other end
		b.ns.Start()
		close(began)
	}()
	select {
	case <-began:
	case <-time.After(limit):
		return nil, fmt.Errorf("%w within %v", ErrStuck, limit)
	}
	defer func() {
		if err != nil {
			b.Stop()
		}
	}()
	if !b.ns.ReadyForConnections(limit) {
		return nil, fmt.Errorf("embedded NATS server is not ready after %v", limit)
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(b.ns), nats.Name("thaw"), nats.MaxReconnects(-1), nats.Timeout(requestLimit))
	if err != nil {
		return nil, fmt.Errorf("connection to the embedded NATS server: %w", err)
	}
	if b.JS, err = jetstream.New(b.conn, jetstream.WithDefaultTimeout(requestLimit), jetstream.WithPublishAsyncMaxPending(pending)); err != nil {
		return nil, fmt.Errorf("JetStream: %w", err)
	}
	return b, nil
}

// Stop ends the server and waits until its files are closed. Of none, nil, it does nothing.
func (b *Broker) Stop() {
	if b == nil {
		return
	}
	if b.conn != nil {
		b.conn.Close()
	}
	b.ns.Shutdown()
	b.ns.WaitForShutdown()
}

// words gives the embedded server's words to our log. Its notices are for people who run NATS: debug here.
type words struct{ log *slog.Logger }

func (w words) Noticef(format string, v ...any) { w.log.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (w words) Warnf(format string, v ...any)   { w.log.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (w words) Fatalf(format string, v ...any)  { w.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (w words) Errorf(format string, v ...any)  { w.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (w words) Debugf(string, ...any)           {}
func (w words) Tracef(string, ...any)           {}
