package poller

import (
	"encoding/json"
	"strconv"
	"time"

	"thaw/eventsource"
)

// windowSlack is how long after its end a window stays open for records that are still on their way. AWS does not say
// what it waits for; a poll of a stream takes a second.
const windowSlack = 2 * time.Second

// windows are the open tumbling windows of a shard, by lane. They are stored with the shard's position.
type windows map[string]eventsource.Window

// open are the windows that a checkpoint has.
func openWindows(c eventsource.Checkpoint) windows {
	w := windows{}
	if len(c.Window) > 0 {
		json.Unmarshal(c.Window, &w) //nolint:errcheck // of our own
	}
	return w
}

// setWindow takes note of a lane's window; nil: it is closed.
func (sh *shard) setWindow(lane int, w *eventsource.Window) {
	sh.saving.Lock()
	defer sh.saving.Unlock()
	if key := strconv.Itoa(lane); w == nil {
		delete(sh.windows, key)
	} else {
		sh.windows[key] = *w
	}
}

// windowTextLocked is what the checkpoint has of windows. Called with saving held.
func (sh *shard) windowTextLocked() json.RawMessage {
	if len(sh.windows) == 0 {
		return nil
	}
	text, err := json.Marshal(sh.windows)
	if err != nil {
		return nil // states are JSON
	}
	return text
}

// tumbling is the length of windows in seconds; 0: there are none.
func (ln *lane) tumbling() int {
	if ln.sh == nil {
		return 0
	}
	return ln.s.m.Options.Tumbling
}

// closesLocked says whether the open window ends before a record, or at this time.
func (ln *lane) closesLocked(now time.Time) bool {
	if ln.window == nil || ln.batcher.Len() > 0 {
		return false
	}
	if len(ln.queue) > 0 {
		return !eventsource.WindowStart(ln.queue[0].Arrived, ln.tumbling()).Equal(ln.window.Start)
	}
	return ln.flushing || !now.Before(ln.windowEndLocked())
}

func (ln *lane) windowEndLocked() time.Time {
	return ln.window.Start.Add(time.Duration(ln.tumbling())*time.Second + windowSlack)
}

// fitsLocked says whether a record belongs to the window of those that are in the batch.
func (ln *lane) fitsLocked(r *eventsource.Record) bool {
	n := ln.tumbling()
	if n == 0 {
		return true
	}
	start := eventsource.WindowStart(r.Arrived, n)
	if ln.batcher.Len() == 0 {
		ln.filling = start
	}
	return start.Equal(ln.filling)
}

// event is the event for a batch, of the window that is open.
func (ln *lane) event(records []*eventsource.Record, final, early bool) []byte {
	if ln.tumbling() == 0 {
		return ln.s.src.Envelope.Event(records)
	}
	if ln.window == nil {
		ln.setWindow(&eventsource.Window{Start: eventsource.WindowStart(records[0].Arrived, ln.tumbling()), State: json.RawMessage("{}")})
	}
	return ln.window.Event(ln.s.src.Envelope, records, eventsource.WindowCall{Seconds: ln.tumbling(), Shard: ln.sh.id, ARN: ln.s.m.Source.ARN, Final: final, Early: early})
}

// setWindow is called by the lane's goroutine alone.
func (ln *lane) setWindow(w *eventsource.Window) {
	ln.mu.Lock()
	ln.window = w
	ln.room.Broadcast()
	ln.mu.Unlock()
	ln.sh.setWindow(ln.index, w)
}

// takeState takes the state out of an answer. Without one the function has failed. early: the window ends now.
func (ln *lane) takeState(a *attempt) (early bool) {
	if ln.tumbling() == 0 || a.gone || a.outcome.Ending != eventsource.Answered {
		return false
	}
	state, early, ok := eventsource.StateOf(a.answer)
	if !ok {
		a.outcome.Ending = eventsource.Erred
		a.response.Error = "Unhandled"
		return false
	}
	ln.setWindow(&eventsource.Window{Start: ln.window.Start, State: state})
	return early
}

// closeWindow makes the last call of the open window, as often as the mapping says, and forgets its state. S-072.
func (ln *lane) closeWindow(early bool) {
	for b := (eventsource.Batch{}); ; {
		a := ln.s.invoke(ln.event(nil, true, early), "")
		if a.gone {
			<-ln.sh.ctx.Done()
			return
		}
		v := eventsource.Judge(b, a.outcome, ln.s.policy, time.Now())
		if len(v.Again) == 0 {
			if len(v.Lost) > 0 {
				ln.s.s.o.Log.Warn("event source mapping: the last call of a window is given up", "mapping", ln.s.m.ID, "fn", ln.s.m.Function.Name)
				ln.s.s.o.Metrics.Dropped(ln.s.m, 0)
			}
			ln.setWindow(nil)
			ln.sh.saveNow(true)
			return
		}
		b = v.Again[0]
		ln.s.o.result("PROBLEM: Function call failed")
		if !wait(ln.sh.ctx, time.Until(b.NotUntil)) {
			return // the window is stored: it goes on
		}
	}
}

// flush has the window of each lane closed, when a shard has ended and all of it is done with.
func (l *lanes) flush(sh *shard) {
	for _, ln := range l.now() {
		ln.mu.Lock()
		ln.flushing = true
		ln.poke()
		for ln.window != nil && sh.ctx.Err() == nil {
			ln.room.Wait()
		}
		ln.mu.Unlock()
	}
}
