package launcher

import (
	"testing"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
)

// What is learned of a snapshot is that of its file; the least used is forgotten.
func TestLearned(t *testing.T) {
	var l learned
	id := func(n int) fileID { return fileID{ino: uint64(n)} }
	l.learn(id(1), calls.Learned{Touched: []byte("t"), Layout: []byte("l")})
	if k := l.use(id(1)); k.touched != nil || k.layout != nil {
		t.Errorf("something is known of what was not in use: %v", k)
	}
	if l.likely() != nil {
		t.Error("a layout is likely of which nothing is known")
	}
	for n := 1; n <= maxLessons+2; n++ {
		l.learn(id(1), calls.Learned{Touched: make([]byte, n), Layout: []byte{byte(n)}})
	}
	k := l.use(id(1))
	if len(k.touched) != maxLessons || k.layout[0] != maxLessons+2 || l.likely()[0] != maxLessons+2 {
		t.Errorf("learned %d bytes of touches and the layout %v", len(k.touched), k.layout)
	}
	l.learn(id(1), calls.Learned{Touched: make([]byte, calls.MaxTouched+1), Layout: []byte{99}})
	if l.likely()[0] == 99 {
		t.Error("more was learned than may be")
	}
	for n := 2; n <= maxTouched; n++ {
		l.use(id(n))
	}
	if len(l.use(id(1)).touched) == 0 {
		t.Error("forgotten too early")
	}
	for n := 2; n <= maxTouched+1; n++ {
		l.use(id(n + 1000))
	}
	if len(l.use(id(1)).touched) != 0 || len(l.order) > maxTouched || len(l.of) > maxTouched {
		t.Errorf("not forgotten: %d in order, %d known", len(l.order), len(l.of))
	}
}
