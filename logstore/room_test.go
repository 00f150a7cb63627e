package logstore

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// atDisk makes each flush wait, and returns what undoes it.
func (s *Store) atDisk(delay func()) {
	s.disk.Lock()
	s.delay = delay
	s.disk.Unlock()
}

// TestWhoWaitsLosesNothing: many streams print as fast as they get room, the disk is slow, and neither they nor a
// stream that never asks lose an event.
func TestWhoWaitsLosesNothing(t *testing.T) {
	s := open(t, t.TempDir(), 1<<30)
	var most int64
	s.atDisk(func() {
		time.Sleep(20 * time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		most = max(most, s.bytes)
	})
	const loud, each = 30, 4 // grants
	line := strings.Repeat("x", 1000) + "\n"
	var all sync.WaitGroup
	for i := range loud {
		all.Go(func() {
			st := s.Stream(hello, fmt.Sprintf("loud%02d", i))
			for range each {
				<-st.Room()
				for n := 0; n < roomGrant; n += len(line) + eventCost {
					st.Append(noon, line)
				}
			}
		})
	}
	quiet, done := s.Stream(hello, "quiet"), make(chan struct{})
	said := 0
	go func() { all.Wait(); close(done) }()
	for ended := false; !ended; said++ {
		quiet.Append(noon, "here\n")
		select {
		case <-done:
			ended = true
		case <-time.After(time.Millisecond):
		}
	}
	if n := len(messages(t, s, Query{Group: hello, StreamPrefix: "quiet"})); n != said {
		t.Errorf("of %d events of the quiet stream %d are there", said, n)
	}
	want := loud * each * ((roomGrant + len(line) + eventCost - 1) / (len(line) + eventCost))
	got := messages(t, s, Query{Group: hello, StreamPrefix: "loud"})
	for _, m := range got {
		if m != line {
			t.Fatalf("an event is %.80q", m)
		}
	}
	if len(got) != want {
		t.Errorf("of %d events of the loud streams %d are there", want, len(got))
	}
	if most > queueRoom+2<<20 || most < queueRoom/2 {
		t.Errorf("the queue held up to %d bytes; want about %d", most, queueRoom)
	}
}

// TestNobodyWaitsForADiskThatIsStuck: room comes after patience, and at once for those who ask then, until the disk goes on.
func TestNobodyWaitsForADiskThatIsStuck(t *testing.T) {
	synctest.Test(t, nobodyWaitsForADiskThatIsStuck)
}

func nobodyWaitsForADiskThatIsStuck(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	stuck, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.atDisk(func() { once.Do(func() { close(stuck) }); <-free })
	st := s.Stream(hello, "a")
	st.Append(noon, "before")
	<-stuck
	fill := func() {
		for range streamRoom >> 16 {
			st.Append(noon, strings.Repeat("x", 64<<10))
		}
	}
	fill()
	began := time.Now()
	<-st.Room()
	if took := time.Since(began); took < patience/2 {
		t.Errorf("a full stream got room of a disk that does nothing after %v", took)
	}
	began = time.Now()
	<-st.Room()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the second time it waited %v", took)
	}
	close(free)
	if got := messages(t, s, Query{Group: hello}); len(got) != 1+streamRoom>>16 {
		t.Errorf("%d events are there", len(got))
	}
	for range 3 {
		fill()
		<-st.Room()
	}
	if got := messages(t, s, Query{Group: hello}); strings.Contains(strings.Join(got, ""), "dropped") {
		t.Error("the disk goes on, and events were dropped")
	}
}

// TestRoomAtTheEnd: a store or a stream that is closed keeps nobody waiting.
func TestRoomAtTheEnd(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	free := make(chan struct{})
	s.atDisk(func() { <-free })
	a, b := s.Stream(hello, "a"), s.Stream(hello, "b")
	for _, st := range []*Stream{a, b} {
		for st.bytes < streamRoom {
			st.Append(noon, strings.Repeat("x", 64<<10))
		}
	}
	one, two := a.Room(), b.Room()
	a.Close()
	closing := make(chan error)
	go func() { closing <- s.Close() }()
	close(free)
	<-one
	<-two
	if err := <-closing; err != nil {
		t.Error(err)
	}
	<-b.Room()
}
