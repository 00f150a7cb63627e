package making

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"thaw/sandbox"
)

type item struct {
	n      int
	exited chan struct{}
	closed bool
}

func (i *item) Exited() <-chan struct{} { return i.exited }
func (i *item) Exit() sandbox.Exit      { return sandbox.Exit{} }
func (i *item) Close() error            { i.closed = true; return nil }

// bench is a shelf of two with a backend's half.
type bench struct {
	*Shelf[*item]
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
	made   int
	fail   error
	end    context.CancelFunc
}

func newBench() *bench {
	b := new(bench)
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	b.Shelf = &Shelf[*item]{
		What: "item", Stage: "item", Size: 2, Ctx: ctx, Log: slog.New(slog.DiscardHandler), Turns: semaphore.NewWeighted(1), Group: &b.group,
		Make: func(context.Context, *Clock, bool) (*item, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fail != nil {
				return nil, b.fail
			}
			b.made++
			return &item{n: b.made, exited: make(chan struct{})}, nil
		},
		Name: func(*item) string { return "" }, Mu: &b.mu, Closed: &b.closed,
	}
	return b
}

func (b *bench) want() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.WantLocked()
}

func (b *bench) ready() (list []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.Ready {
		list = append(list, i.n)
	}
	return list
}

func (b *bench) expect(t *testing.T, list ...int) {
	t.Helper()
	synctest.Wait()
	if got := b.ready(); !slices.Equal(got, list) {
		t.Errorf("ready are %v, want %v", got, list)
	}
}

func (b *bench) take(t *testing.T, want int) *item {
	t.Helper()
	i, err := b.Take(t.Context(), NewClock())
	if err != nil || i.n != want {
		t.Fatalf("took %+v, %v, want %d", i, err, want)
	}
	return i
}

func TestAShelfIsKeptFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Pause = time.Second
		b.expect(t) // nobody wanted any
		b.want()
		b.expect(t, 1, 2)
		b.take(t, 1)
		b.expect(t, 2) // its place stays empty for the pause
		time.Sleep(time.Second)
		b.expect(t, 2, 3)

		b.mu.Lock()
		dead, gone := b.Ready[0], b.Ready[1]
		b.fail = errors.New("no room")
		b.mu.Unlock()
		close(dead.exited)
		if b.take(t, 3); !dead.closed {
			t.Error("what had died was not closed")
		}
		b.mu.Lock()
		b.DropLocked(gone) // it is not there any more
		b.mu.Unlock()
		time.Sleep(time.Minute)
		b.expect(t) // none can be made
		if _, err := b.Take(t.Context(), NewClock()); !errors.Is(err, b.fail) {
			t.Errorf("take: %v", err)
		}
		b.mu.Lock()
		b.fail = nil
		b.mu.Unlock()
		time.Sleep(retryPause)
		b.expect(t, 4, 5)

		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		b.end()
		b.group.Wait()
		if _, err := b.Take(t.Context(), NewClock()); !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("take after the end: %v", err)
		}
	})
}

// Whoever finds the shelf empty makes one, as soon as it is its turn.
func TestAnEmptyShelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Size = 0
		b.want()
		b.take(t, 1)
		b.expect(t)
		if !b.Turns.TryAcquire(1) {
			t.Fatal("a turn was kept")
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("tired of waiting"))
		defer cancel()
		if _, err := b.Take(ctx, NewClock()); err == nil || err.Error() != "sandbox: tired of waiting" {
			t.Errorf("without a turn: %v", err)
		}
		b.end()
		b.group.Wait()
	})
}
