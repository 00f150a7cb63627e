package kinesistest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/smithy-go/eventstream"
)

// position is where a subscription begins.
type position struct {
	Type, SequenceNumber string
	Timestamp            float64
}

// before says whether a record comes before the position.
func (p *position) before(r record) bool {
	switch p.Type {
	case "AFTER_SEQUENCE_NUMBER":
		return r.SequenceNumber <= p.SequenceNumber
	case "AT_SEQUENCE_NUMBER":
		return r.SequenceNumber < p.SequenceNumber
	case "AT_TIMESTAMP":
		return r.ApproximateArrivalTimestamp < p.Timestamp
	}
	return false
}

// event is what a subscription is given.
type event struct {
	Records                    []record
	ContinuationSequenceNumber *string `json:",omitempty"` // none at the end of the shard
	MillisBehindLatest         int
	ChildShards                []child `json:",omitempty"`
}

type child struct {
	ShardId      string
	ParentShards []string
	HashKeyRange map[string]string
}

// What an event has at most: records, and bytes of their data.
const (
	most       = 500
	EventBytes = 1 << 20
)

// subscribe answers SubscribeToShard until its time is over, the shard has ended, or the connection breaks.
func (st *Stream) subscribe(w http.ResponseWriter, r *http.Request, id string, from position) {
	s := st.s
	s.mu.Lock()
	s.calls = append(s.calls, Call{id, from.Type, from.SequenceNumber, r.ProtoMajor})
	sub := &subscription{st: st, sh: st.findLocked(id), from: from, continuation: from.SequenceNumber, cut: s.cut, w: w,
		c: http.NewResponseController(w)}
	var refusal *Refusal
	if len(s.refuse) > 0 {
		refusal, s.refuse = &s.refuse[0], s.refuse[1:]
	}
	s.mu.Unlock()
	switch {
	case refusal != nil && refusal.Silent:
		<-r.Context().Done()
		return
	case refusal != nil && refusal.Status != 0:
		fail(w, refusal.Status, refusal.Code)
		return
	case sub.sh == nil:
		fail(w, http.StatusBadRequest, "ResourceNotFoundException")
		return
	}
	end := time.Now().Add(s.Lifetime)
	ctx, cancel := context.WithDeadline(r.Context(), end)
	defer cancel()
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	if !sub.send(eventstream.EventMessageType, eventstream.EventTypeHeader, "initial-response", []byte("{}")) {
		return
	}
	if refusal != nil {
		sub.except(refusal.Code)
		return
	}
	sub.c.SetWriteDeadline(end.Add(time.Second)) //nolint:errcheck // HTTP/2 has it
	sub.run(ctx)
}

// subscription is one that was taken.
type subscription struct {
	st           *Stream
	sh           *shard
	from         position
	n            int // records of the shard that it has had, or that come before it
	continuation string
	cut          int
	w            http.ResponseWriter
	c            *http.ResponseController
}

func (u *subscription) run(ctx context.Context) {
	for ctx.Err() == nil {
		e, changed, exception := u.next()
		if exception != "" {
			u.except(exception)
			return
		}
		payload, err := json.Marshal(e)
		if err != nil {
			panic(err) // texts and numbers
		}
		if !u.send(eventstream.EventMessageType, eventstream.EventTypeHeader, "SubscribeToShardEvent", payload) || e.ChildShards != nil {
			return
		}
		if len(e.Records) > 0 {
			continue
		}
		beat := time.NewTimer(u.st.s.Heartbeat)
		select {
		case <-changed:
		case <-beat.C:
		case <-ctx.Done():
		}
		beat.Stop()
	}
}

// next is the next event, and when there may be another one.
func (u *subscription) next() (e event, changed <-chan struct{}, exception string) {
	s := u.st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case u.st.absent:
		return e, nil, "ResourceNotFoundException"
	case s.cut != u.cut:
		return e, nil, s.code
	}
	e.Records = []record{}
	for size := 0; u.n < len(u.sh.records) && len(e.Records) < most; u.n++ {
		r := u.sh.records[u.n]
		if u.from.before(r) {
			continue
		}
		if size += len(r.Data); size > EventBytes && len(e.Records) > 0 {
			break
		}
		e.Records = append(e.Records, r)
		u.continuation = r.SequenceNumber
	}
	e.ContinuationSequenceNumber = &u.continuation
	if len(e.Records) == 0 && u.sh.children != nil {
		e.ContinuationSequenceNumber = nil
		for _, c := range u.sh.children {
			e.ChildShards = append(e.ChildShards, child{c.id, c.parents, c.keys()})
		}
	}
	return e, s.changed, ""
}

func (u *subscription) except(code string) {
	u.send(eventstream.ExceptionMessageType, eventstream.ExceptionTypeHeader, code, []byte(`{"message":"as the test wants"}`))
}

// send writes one message, with its checksums, and says whether the connection took it.
func (u *subscription) send(message, kind, name string, payload []byte) bool {
	m := eventstream.Message{Payload: payload}
	m.Headers.Set(eventstream.MessageTypeHeader, eventstream.StringValue(message))
	m.Headers.Set(kind, eventstream.StringValue(name))
	m.Headers.Set(eventstream.ContentTypeHeader, eventstream.StringValue("application/json"))
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err) // of our own
	}
	if _, err := u.w.Write(b.Bytes()); err != nil || u.c.Flush() != nil {
		return false
	}
	u.st.s.mu.Lock()
	u.sh.sent += b.Len()
	u.st.s.mu.Unlock()
	return true
}
