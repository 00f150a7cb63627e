package backlog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thaw/push"
)

const (
	mailboxStream = "POSTED"
	leftStream    = "NOTED"
	seenStream    = "SEEN"
	// seenFor is how long what was seen is kept. Source: SNS Developer Guide, the deduplication interval.
	seenFor = 5 * time.Minute
)

func (s *Store) openMailboxesLocked(ctx context.Context) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: mailboxStream, Description: "what sources have accepted and not sent yet", Subjects: []string{"m.*"}, Discard: jetstream.DiscardNew},
		{Name: leftStream, Description: "what is left to do for letters", Subjects: []string{"n.*.*"}, MaxMsgsPerSubject: 1},
		{Name: seenStream, Description: "what was seen a moment ago", Subjects: []string{"s.*.*"}, MaxMsgsPerSubject: 1, MaxAge: seenFor},
	} {
		c.Storage, c.AllowDirect = jetstream.FileStorage, true
		if _, err := s.js.CreateOrUpdateStream(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Mailbox keeps the letters of one source. It lives as long as the Store.
type Mailbox struct {
	s    *Store
	name string
}

var _ push.Mailbox = (*Mailbox)(nil)

// Mailbox returns that of a source. Its name is of small letters.
func (s *Store) Mailbox(name string) *Mailbox { return &Mailbox{s, name} }

func (o *Mailbox) left(seq uint64) string {
	return "n." + o.name + "." + strconv.FormatUint(seq, 10)
}

// stream calls f with a stream of the server that is up.
func (o *Mailbox) stream(ctx context.Context, name string, f func(jetstream.Stream) error) error {
	return o.s.using(ctx, func() error {
		str, err := o.s.js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("mailbox of %s: %w", o.name, err)
		}
		return f(str)
	})
}

// publish writes messages and has them synced.
func (o *Mailbox) publish(ctx context.Context, g *group, messages []*nats.Msg) (seqs []uint64, err error) {
	if err := o.s.room(); err != nil {
		return nil, err
	}
	err = o.s.using(ctx, func() error {
		g.coming.Add(1)
		for _, m := range messages {
			ack, err := o.s.js.PublishMsg(ctx, m)
			if err != nil {
				g.coming.Add(-1)
				return o.s.wrote(err)
			}
			seqs = append(seqs, ack.Sequence)
		}
		g.coming.Add(-1)
		return o.s.wrote(g.do(uint64(len(seqs))))
	})
	return seqs, err
}

// Put implements push.Mailbox.
func (o *Mailbox) Put(ctx context.Context, bodies ...[]byte) ([]uint64, error) {
	messages := make([]*nats.Msg, 0, len(bodies))
	for _, b := range bodies {
		messages = append(messages, &nats.Msg{Subject: "m." + o.name, Data: b})
	}
	seqs, err := o.publish(ctx, &o.s.mailSync, messages)
	if err != nil {
		for _, seq := range seqs { // they were never accepted; at worst they are sent all the same
			o.Remove(context.WithoutCancel(ctx), seq) //nolint:errcheck // as above
		}
		return nil, err
	}
	return seqs, nil
}

// Note implements push.Mailbox.
func (o *Mailbox) Note(ctx context.Context, seq uint64, left []byte) error {
	return o.s.using(ctx, func() error {
		_, err := o.s.js.PublishMsg(ctx, &nats.Msg{Subject: o.left(seq), Data: left})
		return o.s.wrote(err)
	})
}

// Get implements push.Mailbox.
func (o *Mailbox) Get(ctx context.Context, seq uint64) (body []byte, err error) {
	err = o.stream(ctx, mailboxStream, func(s jetstream.Stream) error {
		m, err := s.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return push.ErrNone
		}
		if err == nil {
			body = m.Data
		}
		return err
	})
	return body, err
}

// Remove implements push.Mailbox. The letter goes first: what was noted of it means nothing without it.
func (o *Mailbox) Remove(ctx context.Context, seq uint64) error {
	if err := o.stream(ctx, mailboxStream, func(s jetstream.Stream) error {
		if err := s.DeleteMsg(ctx, seq); err != nil && !gone(err) {
			return o.s.wrote(err)
		}
		return nil
	}); err != nil {
		return err
	}
	return o.stream(ctx, leftStream, func(s jetstream.Stream) error {
		m, err := s.GetLastMsgForSubject(ctx, o.left(seq))
		if err == nil {
			err = s.DeleteMsg(ctx, m.Sequence)
		}
		if err != nil && !gone(err) {
			return o.s.wrote(err)
		}
		return nil
	})
}

// each calls f with every message of a stream that has a subject.
func (o *Mailbox) each(ctx context.Context, stream, subject string, f func(*jetstream.RawStreamMsg) error) error {
	return o.stream(ctx, stream, func(s jetstream.Stream) error {
		for from := uint64(1); ; {
			m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("mailbox of %s: %w", o.name, err)
			}
			from = m.Sequence + 1
			if err := f(m); err != nil {
				return err
			}
		}
	})
}

// Each implements push.Mailbox.
func (o *Mailbox) Each(ctx context.Context, f func(push.Letter) error) error {
	notes := map[string][]byte{}
	err := o.each(ctx, leftStream, "n."+o.name+".*", func(m *jetstream.RawStreamMsg) error {
		notes[m.Subject] = m.Data
		return nil
	})
	if err != nil {
		return err
	}
	err = o.each(ctx, mailboxStream, "m."+o.name, func(m *jetstream.RawStreamMsg) error {
		left := notes[o.left(m.Sequence)]
		delete(notes, o.left(m.Sequence))
		return f(push.Letter{Seq: m.Sequence, Body: m.Data, Left: left})
	})
	if err != nil {
		return err
	}
	for subject := range notes { // of letters that a death came after the end of
		seq, err := strconv.ParseUint(subject[strings.LastIndexByte(subject, '.')+1:], 10, 64)
		if err == nil {
			err = o.Remove(ctx, seq)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keyHeader has the key as it is: subjects have its hash.
const keyHeader = "Thaw-Key"

// See implements push.Mailbox.
func (o *Mailbox) See(ctx context.Context, key string, value []byte) error {
	sum := sha256.Sum256([]byte(key))
	_, err := o.publish(ctx, &o.s.seenSync, []*nats.Msg{{Subject: "s." + o.name + "." + hex.EncodeToString(sum[:16]),
		Header: nats.Header{keyHeader: {hex.EncodeToString([]byte(key))}}, Data: value}})
	return err
}

// Seen implements push.Mailbox.
func (o *Mailbox) Seen(ctx context.Context, f func(key string, value []byte, at time.Time)) error {
	return o.each(ctx, seenStream, "s."+o.name+".*", func(m *jetstream.RawStreamMsg) error {
		if key, err := hex.DecodeString(m.Header.Get(keyHeader)); err == nil && time.Since(m.Time) < seenFor {
			f(string(key), m.Data, m.Time)
		}
		return nil
	})
}
