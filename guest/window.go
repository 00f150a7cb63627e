package guest

import "sync"

// window is how much output may be on its way to the log. Who reads output waits for it first, so that what is printed
// faster than the log takes it stays in the pipe, and its writer waits. One window serves all pipes of all generations.
// A single reading may overdraw it: then the next one waits longer.
type window struct {
	mu   sync.Mutex
	size int64 // 0: no limit
	left int64
	more chan struct{} // closed when there is something left again; nil: nobody waits
}

// begin sets the size, once.
func (w *window) begin(size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size == 0 {
		w.size, w.left = size, size
	}
}

// renew forgets what was on its way: a new server has it all, or never will.
func (w *window) renew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = w.size
	w.wakeLocked()
}

// open lets everything pass: nobody is there to take it.
func (w *window) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = 0
	w.wakeLocked()
}

func (w *window) take(n int64) {
	w.mu.Lock()
	w.left -= n
	w.mu.Unlock()
}

func (w *window) give(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = min(w.left+n, w.size)
	w.wakeLocked()
}

func (w *window) wakeLocked() {
	if w.more != nil && (w.left > 0 || w.size == 0) {
		close(w.more)
		w.more = nil
	}
}

// wait returns when something may be sent, or when one of the two channels says that it is no longer worth the wait.
func (w *window) wait(end <-chan struct{}, limit <-chan struct{}) {
	for {
		w.mu.Lock()
		if w.left > 0 || w.size == 0 {
			w.mu.Unlock()
			return
		}
		if w.more == nil {
			w.more = make(chan struct{})
		}
		more := w.more
		w.mu.Unlock()
		select {
		case <-more:
		case <-end:
			return
		case <-limit:
			return
		}
	}
}
