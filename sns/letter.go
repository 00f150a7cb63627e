package sns

import (
	"encoding/json"
	"fmt"
	"time"

	"thaw/push"
)

// letter is a message in the mailbox. Its deliveries are changed by who holds courier.mu.
type letter struct {
	seq        uint64
	m          *Message // nil: it is on disk alone
	deliveries []*delivery
	open       int // deliveries that are not Over

	dirty  bool // what is left has changed since it was noted
	saving bool // somebody notes it
	save   time.Time
}

// delivery is a letter on its way to one subscription.
type delivery struct {
	letter *letter
	lane   *lane
	sub    string // ARN of the subscription
	state  State
	tries  int // attempts in this state's phase: at the endpoint, or at the dead-letter queue
	due    time.Time
	code   string // why the last attempt failed
	words  string
	index  int // in the agenda
}

// stored is a letter's body.
type stored struct {
	Message *Message
	To      []storedDelivery
}

// storedDelivery is a delivery that is not over.
type storedDelivery struct {
	Sub   string
	State State     `json:",omitempty"` // Waiting or Parked: an attempt that was under way is made again
	Tries int       `json:",omitempty"`
	Due   time.Time `json:",omitzero"`
	Code  string    `json:",omitempty"`
	Words string    `json:",omitempty"`
}

func (d *delivery) stored() storedDelivery {
	s := storedDelivery{Sub: d.sub, State: d.state, Tries: d.tries, Due: d.due, Code: d.code, Words: d.words}
	switch d.state {
	case Sending:
		s.State = Waiting
	case Giving:
		s.State = Parked
	}
	return s
}

// left is what is left to do, as it is noted.
func (l *letter) left() ([]byte, error) {
	var list []storedDelivery
	for _, d := range l.deliveries {
		if d.state != Over {
			list = append(list, d.stored())
		}
	}
	return json.Marshal(list)
}

// open makes a letter of what the store has.
func openLetter(in push.Letter) (*letter, error) {
	var s stored
	if err := json.Unmarshal(in.Body, &s); err != nil || s.Message == nil {
		return nil, fmt.Errorf("letter %d of the mailbox cannot be read: %w", in.Seq, err)
	}
	to := s.To
	if in.Left != nil {
		to = nil
		if err := json.Unmarshal(in.Left, &to); err != nil {
			return nil, fmt.Errorf("what is left of letter %d cannot be read: %w", in.Seq, err)
		}
	}
	if s.Message.FIFO {
		s.Message.Sequence = sequence(in.Seq)
	}
	return newLetter(in.Seq, s.Message, to), nil
}

func newLetter(seq uint64, m *Message, to []storedDelivery) *letter {
	l := &letter{seq: seq, m: m, open: len(to)}
	for _, t := range to {
		l.deliveries = append(l.deliveries, &delivery{letter: l, sub: t.Sub, state: t.State, tries: t.Tries, due: t.Due, code: t.Code, words: t.Words, index: -1})
	}
	return l
}

// agenda is a heap of deliveries by their time, and then by the age of their letters.
type agenda []*delivery

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if !a[i].due.Equal(a[j].due) {
		return a[i].due.Before(a[j].due)
	}
	return a[i].letter.seq < a[j].letter.seq
}
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}
func (a *agenda) Push(x any) {
	d := x.(*delivery)
	d.index = len(*a)
	*a = append(*a, d)
}
func (a *agenda) Pop() any {
	old := *a
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*a, d.index = old[:len(old)-1], -1
	return d
}

// lane is what goes to one subscription; of a FIFO topic, what goes to it of one group.
type lane struct {
	key     string
	ordered bool
	running int
	queue   []*delivery // ordered: all behind the first, which alone is on the agenda; else those that wait for a place
	head    *delivery   // ordered
	free    time.Time   // when the next may go, where there is a limit
}
