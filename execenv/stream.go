package execenv

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"thaw/function"
)

// Limits of a streamed response. Source: Lambda Developer Guide, response streaming; spec 2.10.
const (
	streamUnthrottled = 6 << 20 // bytes before the rate limit applies
	streamRate        = 2 << 20 // bytes per second afterwards
	streamMax         = 200 << 20
)

var errStreamTooLarge = errors.New("streamed response exceeds 209715200 bytes")

func errTypeTooLargeOr(err error) (errType, details string) {
	if !errors.Is(err, errStreamTooLarge) {
		return "", "" // the caller went away; nobody is left to tell
	}
	b, _ := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{"Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (209715200 bytes)."})
	return "Function.ResponseSizeTooLarge", string(b)
}

// pump carries one streamed response from the driver, which must never wait for a caller, to the caller, who may be slow. What is in
// it is bounded by the credit that the guest has: wire.StreamWindow, and then only what the caller has taken.
type pump struct {
	sink   function.StreamSink
	credit func(n int64) // tells the guest that n bytes were taken

	mu     sync.Mutex
	wake   *sync.Cond
	queue  [][]byte
	end    func(error) // set by finish: no more chunks will come
	cut    chan struct{}
	cutOff sync.Once
}

// startPump begins the delivery; finish must follow.
func startPump(sink function.StreamSink, contentType string, credit func(int64)) *pump {
	p := &pump{sink: sink, credit: credit, cut: make(chan struct{})}
	p.wake = sync.NewCond(&p.mu)
	go p.run(contentType)
	return p
}

// add takes a chunk; b must not change afterwards.
func (p *pump) add(b []byte) {
	p.mu.Lock()
	p.queue = append(p.queue, b)
	p.mu.Unlock()
	p.wake.Signal()
}

// finish lets what is queued go out, then calls done with the first delivery error.
func (p *pump) finish(done func(error)) {
	p.mu.Lock()
	p.end = done
	p.mu.Unlock()
	p.wake.Signal()
}

// abandon makes throttling stop waiting: the function ran out of time, the rest is not worth waiting for.
func (p *pump) abandon() { p.cutOff.Do(func() { close(p.cut) }) }

func (p *pump) run(contentType string) {
	err := p.sink.Head(contentType)
	var sent int64
	var throttleFrom time.Time
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && p.end == nil {
			p.wake.Wait()
		}
		if len(p.queue) == 0 {
			end := p.end
			p.mu.Unlock()
			end(err)
			return
		}
		b := p.queue[0]
		p.queue = p.queue[1:]
		p.mu.Unlock()

		if err == nil && sent+int64(len(b)) > streamMax {
			err = errStreamTooLarge
		}
		if err == nil {
			if sent > streamUnthrottled {
				if throttleFrom.IsZero() {
					throttleFrom = time.Now()
				}
				due := throttleFrom.Add(time.Duration(float64(sent-streamUnthrottled) / streamRate * float64(time.Second)))
				if wait := time.Until(due); wait > 0 {
					select {
					case <-time.After(wait):
					case <-p.cut:
					}
				}
			}
			err = p.sink.Chunk(b)
			sent += int64(len(b))
		}
		p.credit(int64(len(b))) // also when nobody takes it: the function must not hang because its caller left
	}
}
