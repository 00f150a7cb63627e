// Package backlog keeps asynchronous events in NATS JetStream: an embedded server of its own, so that neither damage to
// the records nor a disk that is full of events harms the other.
//
//	stream EVENTS     e.ACCOUNT.REGION.NAME.QUALIFIER   one message an event, its payload as the body; deleted when it is done
//	stream PROGRESS   p.SEQ                             what is known of the event with that number, the function's answer as the body
//	stream LETTERS    l                                 one message for somebody outside (outbox.go)
//	stream POSTED     m.NAME                            one message of the source NAME for many (mailbox.go); deleted when all have it
//	stream NOTED      n.NAME.SEQ                        what is left to do for the message with that number
//	stream SEEN       s.NAME.KEY                        what was seen within the last five minutes, KEY being a hash
//
// JetStream has written a message to its file when it acknowledges it, so it survives the death of the process. It does
// not sync: that would be one sync a message, and a disk does a few thousand in a second. Put does it: all that come
// while others are written are written together (intake.go), and all that come while a sync is under way share the next
// one (sync.go).
//
// Owner: whoever called Open owns the Store. It owns a goroutine for each batch that is being written; Close waits for
// them. The server is made anew when a full disk has stopped it.
package backlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"thaw/async"
	"thaw/function"
	"thaw/jetstream/broker"
)

const (
	eventsStream   = "EVENTS"
	progressStream = "PROGRESS"
	header         = "Thaw"  // JSON: an event without its payload, or a Progress
	maxMessage     = 8 << 20 // a function's answer, 6 MB at most, and what is known of it
	// reserve is what must be free for an event to be accepted: enough for the records of what happens to those that are
	// there, and for the rest of the server to go on.
	reserve = 64 << 20
)

// Options say where the events are. Dir and Log are required.
type Options struct {
	Dir string // made if missing; only this process may have it open
	Log *slog.Logger
	// Reserve is what must be free on the disk for an event to be accepted, in bytes; 0: 64 MiB.
	Reserve int64
}

// Store is an open backlog. It implements async.Store.
type Store struct {
	o           Options
	sync        group // of events
	lettersSync group
	mailSync    group
	seenSync    group
	eventsIn    intake
	lettersIn   intake

	mu       sync.RWMutex   // held for reading by everybody who uses what is below
	broker   *broker.Broker // nil: it is closed
	js       jetstream.JetStream
	events   jetstream.Stream
	progress jetstream.Stream
	letters  jetstream.Stream
	broken   bool // a write failed: the server has to be made anew
}

var _ async.Store = (*Store)(nil)

// Open starts the server on the folder and waits until all events can be read.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Reserve == 0 {
		o.Reserve = reserve
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("asynchronous events: %w", err)
	}
	s := &Store{o: o}
	messages := func(stream string) string { return filepath.Join(o.Dir, "jetstream", "$G", "streams", stream, "msgs") }
	s.sync.dir, s.lettersSync.dir = messages(eventsStream), messages(lettersStream)
	s.mailSync.dir, s.seenSync.dir = messages(mailboxStream), messages(seenStream)
	s.eventsIn.s, s.eventsIn.sync, s.eventsIn.stream = s, &s.sync, func() jetstream.Stream { return s.events }
	s.lettersIn.s, s.lettersIn.sync, s.lettersIn.stream = s, &s.lettersSync, func() jetstream.Stream { return s.letters }
	if err := s.startLocked(ctx); err != nil {
		s.stopLocked()
		return nil, fmt.Errorf("asynchronous events: %w", err)
	}
	return s, nil
}

// Close ends the server and waits until its files are closed. It may be called twice.
func (s *Store) Close() {
	s.eventsIn.close()
	s.lettersIn.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopLocked()
}

func (s *Store) startLocked(ctx context.Context) (err error) {
	s.broker, err = broker.Start(ctx, broker.Options{Name: "thaw-async", Dir: s.o.Dir, Log: s.o.Log, MaxMemory: 1 << 20, MaxStore: 1 << 40, MaxMessage: maxMessage})
	if err != nil {
		return err
	}
	s.js = s.broker.JS
	ctx, cancel := context.WithTimeout(ctx, broker.StartLimit)
	defer cancel()
	s.events, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: eventsStream, Description: "asynchronous events", Subjects: []string{"e.>"},
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, AllowDirect: true})
	if err != nil {
		return err
	}
	s.progress, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: progressStream, Description: "what is known of events that were tried",
		Subjects: []string{"p.*"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage, AllowDirect: true})
	if err != nil {
		return err
	}
	s.letters, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: lettersStream, Description: "messages on their way to others",
		Subjects: []string{lettersSubject}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, AllowDirect: true})
	if err != nil {
		return err
	}
	s.broken = false
	return s.openMailboxesLocked(ctx)
}

func (s *Store) stopLocked() {
	s.broker.Stop()
	s.broker = nil
}

// using calls f with the server up. After a write has failed it is made anew before anything else is done: JetStream
// gives up for good when the disk is full.
func (s *Store) using(ctx context.Context, f func() error) error {
	s.mu.RLock()
	if s.broker == nil {
		s.mu.RUnlock()
		return errClosed
	}
	if s.broken {
		s.mu.RUnlock()
		if err := s.repair(ctx); err != nil {
			return err
		}
		s.mu.RLock()
	}
	defer s.mu.RUnlock()
	return f()
}

func (s *Store) repair(ctx context.Context) error {
	if err := s.room(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.broken || s.broker == nil {
		return nil
	}
	s.o.Log.Warn("asynchronous events: the embedded server is made anew, because it could not write")
	s.stopLocked()
	s.sync.forget()
	s.lettersSync.forget()
	s.mailSync.forget()
	s.seenSync.forget()
	if err := s.startLocked(ctx); err != nil {
		return fmt.Errorf("asynchronous events: %w", err)
	}
	return nil
}

// room answers async.ErrFull when the disk is as good as full.
func (s *Store) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.o.Dir, &st); err != nil {
		return fmt.Errorf("asynchronous events: %w", err)
	}
	if int64(st.Bavail)*st.Bsize < s.o.Reserve { //nolint:gosec // no disk is that big
		return async.ErrFull
	}
	return nil
}

// wrote looks at the error of a write. An answer that does not come is one, too: a server that has given up is silent.
func (s *Store) wrote(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	s.mu.RUnlock()
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	s.mu.RLock()
	if full := s.room(); full != nil {
		return full
	}
	return fmt.Errorf("asynchronous events: %w", err)
}

// gaveUp is wrote of somebody who is not in using, and did not wait for the answer.
func (s *Store) gaveUp(err error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.wrote(err)
}

// stored is an Event's header.
type stored struct {
	RequestID   string       `json:"id"`
	InvokedARN  function.ARN `json:"arn"`
	TraceID     string       `json:"trace,omitempty"`
	TenantID    string       `json:"tenant,omitempty"`
	TraceState  string       `json:"state,omitempty"`
	AcceptedNs  int64        `json:"at"` // Unix time
	Incarnation uint64       `json:"inc"`
}

func subject(l async.Lane) string {
	return "e." + l.Account + "." + l.Region + "." + l.Name + "." + string(l.Qualifier)
}

func laneOf(subject string) (l async.Lane, ok bool) {
	p := strings.Split(subject, ".")
	if len(p) != 5 {
		return l, false
	}
	return async.Lane{Key: function.Key{Account: p[1], Region: p[2], Name: p[3]}, Qualifier: function.Qualifier(p[4])}, true
}

func progressSubject(seq uint64) string { return "p." + strconv.FormatUint(seq, 10) }

// Put implements async.Store.
func (s *Store) Put(ctx context.Context, e *async.Event) error {
	h, err := json.Marshal(stored{e.RequestID, e.InvokedARN, e.TraceID, e.TenantID, e.TraceState, e.Accepted.UnixNano(), e.Incarnation})
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: subject(e.Lane), Header: nats.Header{header: {string(h)}}, Data: e.Payload}
	e.Seq, err = s.eventsIn.put(ctx, m)
	return err
}

// Next implements async.Store.
func (s *Store) Next(ctx context.Context, l async.Lane, from uint64) (e *async.Event, err error) {
	err = s.using(ctx, func() error {
		m, err := s.events.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject(l)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return async.ErrNone
		}
		if err != nil {
			return fmt.Errorf("asynchronous events: %w", err)
		}
		var h stored
		if err := json.Unmarshal([]byte(m.Header.Get(header)), &h); err != nil {
			return fmt.Errorf("asynchronous event %d: %w", m.Sequence, err)
		}
		e = &async.Event{Seq: m.Sequence, Lane: l, RequestID: h.RequestID, InvokedARN: h.InvokedARN, TraceID: h.TraceID, TenantID: h.TenantID, TraceState: h.TraceState,
			Accepted: time.Unix(0, h.AcceptedNs), Incarnation: h.Incarnation, Payload: m.Data}
		return nil
	})
	return e, err
}

// Progress implements async.Store.
func (s *Store) Progress(ctx context.Context, seq uint64, p *async.Progress) error {
	h, err := json.Marshal(p)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: progressSubject(seq), Header: nats.Header{header: {string(h)}}, Data: p.Response}
	return s.using(ctx, func() error {
		_, err := s.js.PublishMsg(ctx, m)
		return s.wrote(err)
	})
}

// Known implements async.Store.
func (s *Store) Known(ctx context.Context, seq uint64) (p *async.Progress, err error) {
	err = s.using(ctx, func() error {
		m, err := s.progress.GetLastMsgForSubject(ctx, progressSubject(seq))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("asynchronous events: %w", err)
		}
		p, err = progressOf(m)
		return err
	})
	return p, err
}

func progressOf(m *jetstream.RawStreamMsg) (*async.Progress, error) {
	p := new(async.Progress)
	if err := json.Unmarshal([]byte(m.Header.Get(header)), p); err != nil {
		return nil, fmt.Errorf("progress of an asynchronous event, %s: %w", m.Subject, err)
	}
	p.Response = m.Data
	return p, nil
}

// Remove implements async.Store. The event goes first: its progress without it means nothing, and it without its
// progress would be tried again.
func (s *Store) Remove(ctx context.Context, seq uint64) error {
	return s.using(ctx, func() error {
		if err := s.events.DeleteMsg(ctx, seq); err != nil && !gone(err) {
			return s.wrote(err)
		}
		m, err := s.progress.GetLastMsgForSubject(ctx, progressSubject(seq))
		if err == nil {
			err = s.progress.DeleteMsg(ctx, m.Sequence)
		}
		if err != nil && !gone(err) {
			return s.wrote(err)
		}
		return nil
	})
}

// gone says that a message is not there. Of a deletion the server says so in words only. Source: nats-server, errors.json
// (JSSequenceNotFoundErrF, JSStreamMsgDeleteFailedF) and store.go (ErrStoreMsgNotFound, errDeletedMsg).
func gone(err error) bool {
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return strings.Contains(err.Error(), "no message found") || strings.Contains(err.Error(), "deleted message") ||
			strings.Contains(err.Error(), "err_code=10043")
	}
	return errors.Is(err, jetstream.ErrMsgNotFound)
}

// Purge implements async.Store.
func (s *Store) Purge(ctx context.Context, l async.Lane) (n int, err error) {
	err = s.using(ctx, func() error {
		info, err := s.events.Info(ctx, jetstream.WithSubjectFilter(subject(l)))
		if err != nil {
			return fmt.Errorf("asynchronous events: %w", err)
		}
		n = int(info.State.Subjects[subject(l)]) //nolint:gosec // no disk holds so many
		return s.wrote(s.events.Purge(ctx, jetstream.WithPurgeSubject(subject(l))))
	})
	return n, err
}

// Lanes implements async.Store.
func (s *Store) Lanes(ctx context.Context) (lanes map[async.Lane]int, err error) {
	lanes = map[async.Lane]int{}
	err = s.using(ctx, func() error {
		info, err := s.events.Info(ctx, jetstream.WithSubjectFilter("e.>"))
		if err != nil {
			return fmt.Errorf("asynchronous events: %w", err)
		}
		for subject, n := range info.State.Subjects {
			if l, ok := laneOf(subject); ok && n > 0 {
				lanes[l] = int(n) //nolint:gosec // no disk holds so many
			}
		}
		return nil
	})
	return lanes, err
}

// Tried implements async.Store.
func (s *Store) Tried(ctx context.Context, f func(seq uint64, p *async.Progress)) error {
	return s.using(ctx, func() error {
		for from := uint64(1); ; {
			m, err := s.progress.GetMsg(ctx, from, jetstream.WithGetMsgSubject("p.*"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("asynchronous events: %w", err)
			}
			from = m.Sequence + 1
			seq, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, "p."), 10, 64)
			if err != nil {
				continue
			}
			p, err := progressOf(m)
			if err != nil {
				return err
			}
			_, err = s.events.GetMsg(ctx, seq)
			switch {
			case gone(err):
				if err := s.progress.DeleteMsg(ctx, m.Sequence); err != nil && !gone(err) {
					return fmt.Errorf("asynchronous events: %w", err)
				}
			case err != nil:
				return fmt.Errorf("asynchronous events: %w", err)
			default:
				p.Response = nil
				f(seq, p)
			}
		}
	})
}
