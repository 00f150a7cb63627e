package guest

import (
	"io"
	"sync"

	"thaw/guest/wire"
)

// outbox is the guest's end of the stream for everybody who has something to say. While the guest is quiet (from Quiesced
// to Restored) whoever wants to say something waits.
type outbox struct {
	mu    sync.Mutex
	loud  sync.Cond
	w     *wire.Writer
	quiet bool
	tell  func(quiet bool)
}

// newOutbox makes one that tells (nil: nobody) before the last word and after the silence.
func newOutbox(w io.Writer, tell func(quiet bool)) *outbox {
	if tell == nil {
		tell = func(bool) {}
	}
	o := &outbox{w: wire.NewWriter(w), tell: tell}
	o.loud.L = &o.mu
	return o
}

func (o *outbox) lock() {
	o.mu.Lock()
	for o.quiet {
		o.loud.Wait()
	}
}

func (o *outbox) send(kind wire.Kind, head any, body []byte) error {
	o.lock()
	defer o.mu.Unlock()
	return o.w.Send(kind, head, body)
}

// queue says something together with what is said next, or at flush.
func (o *outbox) queue(kind wire.Kind, head any, body []byte) error {
	o.lock()
	defer o.mu.Unlock()
	return o.w.Queue(kind, head, body)
}

func (o *outbox) flush() error {
	o.lock()
	defer o.mu.Unlock()
	return o.w.Flush()
}

// quiesce says the last word.
func (o *outbox) quiesce() error {
	o.lock()
	defer o.mu.Unlock()
	o.quiet = true
	o.tell(true)
	return o.w.Send(wire.KindQuiesced, nil, nil)
}

func (o *outbox) resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quiet = false
	o.tell(false)
	o.loud.Broadcast()
}
