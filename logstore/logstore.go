// Package logstore keeps the output of functions: groups of streams of events on disk, in the shape of CloudWatch Logs, so that its API
// can be laid over it.
//
//	DIR/GROUP/name                 the group's name, as given
//	DIR/GROUP/meta                 what was set for the group: retention, tags (meta)
//	DIR/GROUP/streams              streams that were made before they had events, one JSON object a line
//	DIR/GROUP/0000000000000001.log events of all its streams, one JSON object a line, in the order of their IDs
//
// A group is a row of segments; when it outgrows its bound the oldest segment goes. Nothing is synced: what the kernel has
// survives the death of the server at any moment, and a torn last line is cut off when the store is opened.
//
// # Owners and locks
//
// Append only puts an event into a queue, and drops it where the queue is full. Who can wait asks Room before, and
// loses nothing. One goroutine, the writer, takes the queue to disk, and removes what is past its group's retention. Store.disk
// guards the groups and their segments, Store.mu the queue, Store.indexing the reading of what an earlier server wrote;
// they are taken in the order indexing, disk, mu.
package logstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Limits of memory and time between Append and disk.
const (
	flushAfter  = 50 * time.Millisecond // how long an event may wait in the queue
	queueBytes  = 32 << 20              // of all streams together; beyond it events are dropped and counted
	streamBytes = 8 << 20               // of one stream, so that a chatty function does not cost the others their lines
	eventCost   = 128                   // what a queued event holds beside its message
	roomGrant   = 256 << 10             // what a stream may append once it got room (wire.LogWindow)
	streamRoom  = 1 << 20               // a stream that has more in the queue waits for room
	queueRoom   = queueBytes / 2        // so does every stream when the queue holds more: the other half is for those who do not print much
	writeBytes  = 1 << 20               // is written at once, about
	patience    = 2 * time.Second       // a disk that takes longer for one write is stuck: nobody waits for it any more, events are dropped
	maxMessage  = 256<<10 - 26          // a longer message becomes several events; wire.MaxLogEvent
	segments    = 8                     // a group's bound is this many segments
	minSegment  = 4 << 10
)

// DefaultMaxBytes bounds a group when Options.MaxBytes is 0.
const DefaultMaxBytes = 256 << 20

// ErrNoGroup is the fact that nothing was ever written to a group.
var ErrNoGroup = errors.New("no such log group")

// Options of a store.
type Options struct {
	Dir      string // made if missing
	MaxBytes int64  // of one group, on disk; 0: DefaultMaxBytes
	Log      *slog.Logger
}

// Event is one line of a function, or one line of the platform about it.
type Event struct {
	ID      uint64 `json:"id,string"`   // unique in the store, growing in the order of Append, the same at every reading
	Time    int64  `json:"timestamp"`   // Unix milliseconds, as the writer of the event gave it
	Stream  string `json:"stream"`      //
	Message string `json:"message"`     // as appended; a line of output ends in its newline
	Arrived int64  `json:"ingestionMs"` // Unix milliseconds of the Append
}

// Store is an open log folder. Its methods may be called from any goroutine.
type Store struct {
	dir      string
	maxBytes int64
	log      *slog.Logger

	indexing sync.Mutex

	disk    sync.Mutex
	groups  map[string]*group
	failing bool // the last write went wrong
	buf     []byte
	runs    []run // in buf

	mu      sync.Mutex
	queue   []queued
	bytes   int64 // cost of queue
	lossy   []*Stream
	waiting []waiter // for room, the oldest first
	granted int64    // since the last flush
	stuck   bool     // a write takes longer than patience
	overdue *time.Timer
	lastID  uint64
	closed  bool
	flushed chan struct{} // closed and replaced whenever something reached the disk

	wake chan struct{}      // there is something in the queue
	soon chan struct{}      // do not gather more, somebody waits for room
	asks chan chan struct{} // flush now, and close this when done
	stop chan struct{}
	done chan struct{}

	// delay stands for a slow disk in tests; nil otherwise.
	delay func()
}

// queued is an event on its way to the disk, or several that were appended at once: the lines of the text.
type queued struct {
	to            *Stream
	id            uint64 // of the first; the others follow
	time, arrived int64  // Unix milliseconds
	text          string
	lines         int // 1: the text is one message, whatever is in it
}

// Stream is one stream of a group, as its writer holds it.
type Stream struct {
	s           *Store
	group, name string

	// Under Store.mu.
	bytes   int64
	dropped int
	closed  bool
}

// Open opens or makes the store in o.Dir. Close it.
func Open(o Options) (*Store, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("log folder: %w", err)
	}
	s := &Store{
		dir: o.Dir, maxBytes: o.MaxBytes, log: o.Log, groups: map[string]*group{},
		flushed: make(chan struct{}), wake: make(chan struct{}, 1), soon: make(chan struct{}, 1), asks: make(chan chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := s.openGroups(); err != nil {
		return nil, err
	}
	s.overdue = time.AfterFunc(patience, s.giveUp)
	s.overdue.Stop()
	go s.write()
	return s, nil
}

// Close takes what is queued to disk and ends the store. Later Appends are dropped.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if !was {
		close(s.stop)
	}
	<-s.done
	s.overdue.Stop()
	return nil
}

// Stream gives the writer's end of a stream; it need not exist, and there is no file before the first Append.
func (s *Store) Stream(group, stream string) *Stream {
	return &Stream{s: s, group: group, name: stream}
}

// Append records a message as of at. It never waits for the disk: where that is too slow the event is dropped, and an event of the
// platform says later how many were.
func (st *Stream) Append(at time.Time, message string) {
	for len(message) > maxMessage {
		n := cut(message)
		st.append(at, message[:n], 1)
		message = message[n:]
	}
	st.append(at, message, 1)
}

// AppendLines is Append of each line of a text. What many lines have in common is done once.
func (st *Stream) AppendLines(at time.Time, text string) {
	n := strings.Count(text, "\n")
	if n > 1 && len(text) <= maxMessage && strings.HasSuffix(text, "\n") && st.append(at, text, n) {
		return
	}
	for line := range strings.Lines(text) { // or as many of them as have room
		st.Append(at, line)
	}
}

// cut is the largest border between characters that is not past maxMessage.
func cut(message string) int {
	for n := maxMessage; n > maxMessage-4; n-- {
		if message[n]&0xC0 != 0x80 {
			return n
		}
	}
	return maxMessage // no UTF-8 at all
}

// append puts a message into the queue, or several that are lines. Of several without room for all it takes none, and
// says so.
func (st *Stream) append(at time.Time, text string, lines int) bool {
	s, cost := st.s, int64(len(text)+lines*eventCost)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || st.closed {
		return true
	}
	if s.bytes+cost > queueBytes || st.bytes+cost > streamBytes {
		if lines > 1 {
			return false
		}
		if st.dropped == 0 {
			s.lossy = append(s.lossy, st)
		}
		st.dropped++
		return true
	}
	s.enqueueLocked(queued{to: st, time: at.UnixMilli(), arrived: now.UnixMilli(), text: text, lines: lines}, now)
	s.bytes += cost
	st.bytes += cost
	if len(s.queue) == 1 {
		signal(s.wake)
	}
	return true
}

// enqueueLocked gives the events their IDs: the time in nanoseconds, or the last ID and one, so that IDs also grow over a restart. s.mu is held.
func (s *Store) enqueueLocked(q queued, now time.Time) {
	q.id = max(s.lastID+1, uint64(now.UnixNano()))
	s.lastID = q.id + uint64(q.lines-1)
	s.queue = append(s.queue, q)
}

// Close ends the stream: what comes later is ignored. What was appended stays and is written.
func (st *Stream) Close() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	st.closed = true
}
