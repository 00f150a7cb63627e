package backlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thaw/outbox"
)

const (
	lettersStream  = "LETTERS"
	lettersSubject = "l"
)

// Letters are messages for somebody outside, in the stream LETTERS of the same server: one message a letter, deleted when it
// is done with.
type Letters struct{ s *Store }

var _ outbox.Store = Letters{}

// Letters opens what implements outbox.Store. It lives as long as the Store.
func (s *Store) Letters() Letters { return Letters{s} }

// Put implements outbox.Store.
func (l Letters) Put(ctx context.Context, letter *outbox.Letter) error {
	h, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: lettersSubject, Header: nats.Header{header: {string(h)}}, Data: letter.Body}
	letter.Seq, err = l.s.lettersIn.put(ctx, m)
	return err
}

// Get implements outbox.Store.
func (l Letters) Get(ctx context.Context, seq uint64) (letter *outbox.Letter, err error) {
	err = l.s.using(ctx, func() error {
		m, err := l.s.letters.GetMsg(ctx, seq)
		if gone(err) {
			return outbox.ErrNone
		}
		if err != nil {
			return fmt.Errorf("messages on their way: %w", err)
		}
		letter, err = letterOf(m)
		return err
	})
	return letter, err
}

func letterOf(m *jetstream.RawStreamMsg) (*outbox.Letter, error) {
	letter := &outbox.Letter{}
	if err := json.Unmarshal([]byte(m.Header.Get(header)), letter); err != nil {
		return nil, fmt.Errorf("message %d on its way: %w", m.Sequence, err)
	}
	letter.Seq, letter.Body = m.Sequence, m.Data
	return letter, nil
}

// Remove implements outbox.Store.
func (l Letters) Remove(ctx context.Context, seq uint64) error {
	return l.s.using(ctx, func() error {
		if err := l.s.letters.DeleteMsg(ctx, seq); err != nil && !gone(err) {
			return l.s.wrote(err)
		}
		return nil
	})
}

// All implements outbox.Store.
func (l Letters) All(ctx context.Context, f func(*outbox.Letter)) error {
	return l.s.using(ctx, func() error {
		for from := uint64(1); ; {
			m, err := l.s.letters.GetMsg(ctx, from, jetstream.WithGetMsgSubject(lettersSubject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("messages on their way: %w", err)
			}
			from = m.Sequence + 1
			letter, err := letterOf(m)
			if err != nil {
				return err
			}
			letter.Body, letter.Original = nil, nil
			f(letter)
		}
	})
}
