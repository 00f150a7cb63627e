package sns

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"thaw/async"
	"thaw/push"
)

// Bounds of attempts at one time: an endpoint that does not answer holds up no other.
const (
	atOneTime   = 256
	perEndpoint = 16
	saveAfter   = 100 * time.Millisecond // what a success leaves is noted so much later: many come together
	closeLimit  = 10 * time.Second
	inMemory    = 1024 // letters; of those behind them the message is on disk alone until its attempt
)

// carrier is what a courier needs of those that it works for.
type carrier interface {
	// plan is how a subscription is tried; nil: it is gone.
	plan(sub string) *plan
	// attempt makes one. *async.PermanentError: no other will help.
	attempt(ctx context.Context, m *Message, sub string) error
	// opened is told of each letter that was in the mailbox.
	opened(m *Message)
	// bury gives a message to the dead-letter queue.
	bury(ctx context.Context, m *Message, sub, code, words string) error
}

// errGone says that whoever a message is for is gone.
var errGone = errors.New("the subscription is gone")

// plan is how a subscription is tried.
type plan struct {
	Retries
	perSecond int
	queue     bool // there is a dead-letter queue
}

// courier takes letters from the mailbox to whom they are for.
type courier struct {
	box     push.Mailbox
	carrier carrier
	log     *slog.Logger
	ctx     context.Context // of attempts
	stop    context.CancelFunc
	work    sync.WaitGroup
	wake    chan struct{}

	mu      sync.Mutex
	agenda  agenda
	lanes   map[string]*lane
	running int
	letters int
	held    []*delivery // that are due and wait for a place among atOneTime
	unsaved map[*letter]bool
	closed  bool
}

// openCourier reads what the mailbox has, and goes on with it.
func openCourier(ctx context.Context, box push.Mailbox, c carrier, log *slog.Logger) (*courier, error) {
	k := &courier{box: box, carrier: c, log: log, wake: make(chan struct{}, 1), lanes: map[string]*lane{}, unsaved: map[*letter]bool{}}
	k.ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	err := box.Each(ctx, func(in push.Letter) error {
		l, err := openLetter(in)
		if err != nil { // it would keep the server from starting for ever
			log.Error("a message is lost", "error", err)
			return box.Remove(ctx, in.Seq)
		}
		c.opened(l.m)
		if l.open == 0 {
			return box.Remove(ctx, in.Seq)
		}
		k.mu.Lock()
		k.admitLocked(l)
		l.m = nil
		k.mu.Unlock()
		return nil
	})
	if err != nil {
		k.stop()
		return nil, err
	}
	k.work.Go(k.run)
	return k, nil
}

// close ends all attempts, and notes what is left.
func (k *courier) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop()
	k.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	for l := range k.unsaved {
		left, err := l.left()
		if err == nil {
			err = k.box.Note(ctx, l.seq, left)
		}
		if err != nil {
			k.log.Warn("what was sent of a message could not be noted: it is sent again", "error", err)
		}
	}
}

// take sends letters that are on disk. Their order is that of their numbers.
func (k *courier) take(letters ...*letter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed { // they are on disk
		return
	}
	for _, l := range letters {
		if l.open > 0 {
			k.admitLocked(l)
			if k.letters > inMemory {
				l.m = nil
			}
			continue
		}
		k.work.Go(func() { k.forget(l) })
	}
	k.poke()
}

func (k *courier) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *courier) admitLocked(l *letter) {
	k.letters++
	for _, d := range l.deliveries {
		key, ordered := d.sub, l.m.FIFO
		if ordered {
			key += " " + l.m.Group
		}
		if k.lanes[key] == nil {
			k.lanes[key] = &lane{key: key, ordered: ordered}
		}
		lane := k.lanes[key]
		d.lane = lane
		switch {
		case !ordered:
			heap.Push(&k.agenda, d)
		case lane.head == nil:
			lane.head = d
			heap.Push(&k.agenda, d)
		default:
			lane.queue = append(lane.queue, d)
		}
	}
}

// run begins what is due, until close.
func (k *courier) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at := k.begin(time.Now())
		timer.Stop()
		if !at.IsZero() {
			timer.Reset(max(0, time.Until(at)))
		}
		select {
		case <-k.wake:
		case <-timer.C:
		case <-k.ctx.Done():
			return
		}
	}
}

// begin begins all that is due, and returns when there is more; zero: when something happens.
func (k *courier) begin(now time.Time) (at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.agenda) > 0 && !k.agenda[0].due.After(now) && !k.closed {
		d := heap.Pop(&k.agenda).(*delivery)
		switch {
		case d.lane.running >= perEndpoint:
			d.lane.queue = append(d.lane.queue, d)
			continue
		case k.running >= atOneTime:
			k.held = append(k.held, d)
			continue
		}
		k.startLocked(d, now)
	}
	for l := range k.unsaved {
		switch {
		case l.saving:
		case !l.save.After(now):
			l.saving = true
			k.work.Go(func() { k.note(l) })
		case at.IsZero() || l.save.Before(at):
			at = l.save
		}
	}
	if len(k.agenda) > 0 && (at.IsZero() || k.agenda[0].due.Before(at)) {
		at = k.agenda[0].due
	}
	return at
}

// startLocked begins one attempt, or puts it off where the endpoint has a limit.
func (k *courier) startLocked(d *delivery, now time.Time) {
	p := k.carrier.plan(d.sub)
	if p != nil && p.perSecond > 0 {
		if d.lane.free.After(now) {
			d.due = d.lane.free
			heap.Push(&k.agenda, d)
			return
		}
		d.lane.free = now.Add(time.Second / time.Duration(p.perSecond))
	}
	e := Due
	if p == nil {
		e = Gone
	}
	to, do, ok := Next(d.state, e, p != nil && p.queue)
	if !ok && e == Gone { // its dead letter still goes
		to, do, ok = Next(d.state, Due, true)
	}
	if !ok {
		return
	}
	d.state = to
	d.lane.running++
	k.running++
	k.work.Go(func() { k.attempt(d, do[0]) })
}

// attempt makes one, and does what follows.
func (k *courier) attempt(d *delivery, what Action) {
	var (
		m   *Message
		err error
	)
	if what != Forget {
		if m, err = k.message(d.letter); err == nil {
			if what == Attempt {
				err = k.carrier.attempt(k.ctx, m, d.sub)
			} else {
				err = k.carrier.bury(k.ctx, m, d.sub, d.code, d.words)
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if what != Forget {
		if err != nil && k.ctx.Err() != nil { // this server goes: the attempt is made again
			d.state = d.stored().State
			k.leaveLocked(d, time.Now())
			return
		}
		k.outcomeLocked(d, m, err)
	}
	if d.state == Over {
		k.overLocked(d)
	}
	k.leaveLocked(d, time.Now())
}

// message is a letter's, from disk where it was left there.
func (k *courier) message(l *letter) (*Message, error) {
	k.mu.Lock()
	m := l.m
	k.mu.Unlock()
	if m != nil {
		return m, nil
	}
	body, err := k.box.Get(k.ctx, l.seq)
	if errors.Is(err, push.ErrNone) {
		return nil, &async.PermanentError{Err: errors.New("the message is not in the mailbox")}
	}
	if err != nil {
		return nil, err
	}
	var s stored
	if err := json.Unmarshal(body, &s); err != nil || s.Message == nil {
		return nil, &async.PermanentError{Err: fmt.Errorf("letter %d of the mailbox cannot be read: %w", l.seq, err)}
	}
	if s.Message.FIFO {
		s.Message.Sequence = sequence(l.seq)
	}
	return s.Message, nil
}

// outcomeLocked moves a delivery by what its attempt brought.
func (k *courier) outcomeLocked(d *delivery, m *Message, err error) {
	p := k.carrier.plan(d.sub)
	queue := p != nil && p.queue && (m == nil || m.Token == "")
	retries := forQueues
	if p != nil && d.state == Sending {
		retries = p.Retries
	}
	delay, again := retries.Delay(d.tries)
	e := Delivered
	switch {
	case err == nil:
	case (p == nil || errors.Is(err, errGone)) && d.state == Sending:
		e = Gone
	case errors.As(err, new(*async.PermanentError)):
		e = Refused
	case !again:
		e = GaveUp
	default:
		e = Failed
	}
	if err != nil {
		if d.state == Sending {
			d.code, d.words = reasonOf(err)
		}
		k.log.Debug("a message did not arrive", "subscription", d.sub, "attempt", d.tries+1, "error", err)
	}
	to, do, _ := Next(d.state, e, queue)
	d.tries++
	d.due = time.Now().Add(delay)
	if to == Parked && d.state == Sending {
		d.tries, d.due = 0, time.Now()
	}
	d.state = to
	for _, a := range do {
		switch a {
		case Write:
			d.letter.dirty, d.letter.save = true, time.Now()
			k.unsaved[d.letter] = true
			d.letter.m = nil // it may be long until the next attempt
		case Lose:
			k.log.Error("a message did not arrive, and is lost: the subscription has no dead-letter queue that takes it; type: aws sns set-subscription-attributes --attribute-name RedrivePolicy",
				"subscription", d.sub, "attempts", d.tries, "error", err)
		}
	}
}

// overLocked notes that a delivery is over; the last one takes the letter with it.
func (k *courier) overLocked(d *delivery) {
	l := d.letter
	if l.open--; l.open == 0 {
		l.m = nil
		k.letters--
		delete(k.unsaved, l)
		if !l.saving { // else whoever notes it forgets it
			k.work.Go(func() { k.forget(l) })
		}
		return
	}
	if !l.dirty {
		l.dirty, l.save = true, time.Now().Add(saveAfter)
	}
	k.unsaved[l] = true
}

// leaveLocked gives a delivery's place to the next, and puts it back where it waits.
func (k *courier) leaveLocked(d *delivery, now time.Time) {
	l := d.lane
	l.running--
	k.running--
	switch {
	case k.closed:
	case d.state != Over:
		heap.Push(&k.agenda, d)
	case l.ordered:
		l.head = nil
		if len(l.queue) > 0 {
			l.head, l.queue = l.queue[0], l.queue[1:]
			heap.Push(&k.agenda, l.head)
		}
	}
	if !l.ordered && len(l.queue) > 0 && !k.closed {
		heap.Push(&k.agenda, l.queue[0])
		l.queue = l.queue[1:]
	}
	if len(k.held) > 0 && !k.closed {
		heap.Push(&k.agenda, k.held[0])
		k.held = k.held[1:]
	}
	if l.running == 0 && len(l.queue) == 0 && l.head == nil && !l.free.After(now) {
		delete(k.lanes, l.key)
	}
	k.poke()
}

// note writes down what is left of a letter.
func (k *courier) note(l *letter) {
	k.mu.Lock()
	for l.dirty && l.open > 0 {
		l.dirty = false
		left, err := l.left()
		k.mu.Unlock()
		if err == nil {
			err = k.box.Note(context.WithoutCancel(k.ctx), l.seq, left)
		}
		if err != nil {
			k.log.Warn("what was sent of a message could not be noted: after a restart it is sent again", "error", err)
		}
		k.mu.Lock()
	}
	l.saving = false
	delete(k.unsaved, l)
	gone := l.open == 0
	k.mu.Unlock()
	if gone {
		k.forget(l)
	}
}

// forget removes a letter that nothing is left of.
func (k *courier) forget(l *letter) {
	if err := k.box.Remove(context.WithoutCancel(k.ctx), l.seq); err != nil {
		k.log.Warn("a message that was sent stays in the mailbox: after a restart it is sent again", "error", err)
	}
}
