package agenda

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ledger is the file that says what was taken and what was fired, one fact a line:
//
//	b N FROM TO    batch N was taken: all that was due behind FROM, until TO; in nanoseconds of Unix time
//	f N DUE "KEY"  a schedule of it was fired
//	d N            all of it was
//
// b is written before anything is fired, and synced while it is: firing waits for one sync, that of what it puts on disk.
// The others are written and not synced. So a kill of the process loses none of them, and the death of the machine has
// some schedules fired again, or is as if it had come before they were due. A last line that is cut off counts for nothing.
type ledger struct {
	log   *slog.Logger
	path  string
	taken time.Time // until when everything was taken
	open  []opened  // batches that were not done when the file was read

	mu      sync.Mutex
	f       *os.File
	n       uint64          // the last batch
	running map[uint64]bool // batches that are not done
	size    int
	notes   []byte // that were not written yet
	noting  bool   // somebody writes notes
	syncing bool   // somebody syncs, and syncs again when more is to be synced
	more    bool
}

// opened is a batch that a crash has left.
type opened struct {
	n        uint64
	from, to time.Time
	fired    map[fired]bool
}

type fired struct {
	key string
	due int64
}

// rewriteAt is how long the file may become before it is written anew, with what still matters.
const rewriteAt = 64 << 10

func openLedger(path string, log *slog.Logger) (*ledger, error) {
	l := &ledger{log: log, path: path, running: map[uint64]bool{}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l.read(b)
	for _, o := range l.open {
		l.running[o.n] = true
	}
	if err := l.rewrite(); err != nil {
		return nil, fmt.Errorf("ledger of schedules: %w", err)
	}
	return l, nil
}

// read takes in a file. Lines that make no sense are passed over: at worst a schedule is fired again.
func (l *ledger) read(b []byte) {
	batches := map[uint64]*opened{}
	var order []uint64
	lines := bufio.NewScanner(bytes.NewReader(b[:bytes.LastIndexByte(b, '\n')+1]))
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), " ", 4)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch {
		case f[0] == "b" && len(f) == 4:
			from, err1 := strconv.ParseInt(f[2], 10, 64)
			to, err2 := strconv.ParseInt(f[3], 10, 64)
			if err1 != nil || err2 != nil {
				continue
			}
			batches[n] = &opened{n: n, from: time.Unix(0, from), to: time.Unix(0, to), fired: map[fired]bool{}}
			order = append(order, n)
			if to := time.Unix(0, to); to.After(l.taken) {
				l.taken = to
			}
			l.n = max(l.n, n)
		case f[0] == "f" && len(f) == 4 && batches[n] != nil:
			due, err1 := strconv.ParseInt(f[2], 10, 64)
			key, err2 := strconv.Unquote(f[3])
			if err1 == nil && err2 == nil {
				batches[n].fired[fired{key, due}] = true
			}
		case f[0] == "d":
			delete(batches, n)
		}
	}
	for _, n := range order {
		if o := batches[n]; o != nil {
			l.open = append(l.open, *o)
			delete(batches, n)
		}
	}
}

// rewrite writes the file anew: until when everything was taken, and the batches that a crash has left. Caller holds mu
// or is alone.
func (l *ledger) rewrite() error {
	var b bytes.Buffer
	if !l.taken.IsZero() {
		fmt.Fprintf(&b, "b 0 %d %d\nd 0\n", l.taken.UnixNano(), l.taken.UnixNano())
	}
	for _, o := range l.open {
		fmt.Fprintf(&b, "b %d %d %d\n", o.n, o.from.UnixNano(), o.to.UnixNano())
		for f := range o.fired {
			fmt.Fprintf(&b, "f %d %d %q\n", o.n, f.due, f.key)
		}
	}
	next := l.path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, l.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(l.path))
	}
	if err != nil {
		f.Close()
		return err
	}
	if l.f != nil {
		l.f.Close()
	}
	l.f, l.size = f, b.Len()
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (l *ledger) write(format string, v ...any) error {
	n, err := fmt.Fprintf(l.f, format, v...)
	l.size += n
	return err
}

// begin writes that everything until to is taken. It survives the death of the process; sync is next.
func (l *ledger) begin(from, to time.Time) (n uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	l.running[l.n] = true
	l.taken = to
	return l.n, l.write("b %d %d %d\n", l.n, from.UnixNano(), to.UnixNano())
}

// sync syncs what was written, or has that done by who is at it.
func (l *ledger) sync() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more = true
	if l.syncing {
		return
	}
	l.syncing = true
	for l.more {
		l.more = false
		f := l.f
		l.mu.Unlock()
		err := f.Sync()
		l.mu.Lock()
		if !errors.Is(err, fs.ErrClosed) { // it was written anew, and synced then
			l.told(err)
		}
	}
	l.syncing = false
}

// note says that a schedule was fired. Notes that come while others are written are written together.
func (l *ledger) note(n uint64, key string, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = strconv.AppendUint(append(l.notes, "f "...), n, 10)
	l.notes = strconv.AppendInt(append(l.notes, ' '), due.UnixNano(), 10)
	l.notes = append(strconv.AppendQuote(append(l.notes, ' '), key), '\n')
	if l.noting {
		return
	}
	l.noting = true
	for len(l.notes) > 0 {
		b, f := l.notes, l.f
		l.notes = nil
		l.size += len(b)
		l.mu.Unlock()
		_, err := f.Write(b)
		l.mu.Lock()
		l.told(err)
	}
	l.noting = false
}

// done says that all of a batch was.
func (l *ledger) done(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told(l.write("d %d\n", n))
	delete(l.running, n)
	if len(l.running) == 0 && l.size > rewriteAt && !l.noting {
		l.told(l.rewrite())
	}
}

func (l *ledger) told(err error) {
	if err != nil {
		l.log.Error("it cannot be written down that schedules were fired: a restart may fire them again", "error", err)
	}
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.f.Close()
}
