package eventsource

import (
	"bytes"
	"context"

	"thaw/trigger"
)

// UnwrapTag is the tag of a mapping whose messages are notifications of S3: its function gets S3's own event, not that
// of the queue or topic that the server of objects sent them through. It is read when the mapping begins to read its source. AWS
// has no such thing.
const (
	UnwrapTag = "thaw:unwrap"
	UnwrapS3  = "s3"
)

// Unwraps says whether the mapping's function gets what its messages hold.
func (m *Mapping) Unwraps() bool { return m.Tags[UnwrapTag] == UnwrapS3 }

// CheckTags refuses what would be ignored in silence. *InvalidError.
func (m *Mapping) CheckTags() error {
	if v, ok := m.Tags[UnwrapTag]; ok && v != UnwrapS3 {
		return &InvalidError{"The tag " + UnwrapTag + " has the value " + UnwrapS3 + ", or is not there."}
	}
	return nil
}

// Unwrapped is a source whose records are the notifications in its messages. Filters see the messages. What is no
// notification is unreadable, and a test event is for no function.
func Unwrapped(s *Source, k Kind) *Source {
	out := *s
	out.Envelope = Envelope{Head: `{"Records":`, Tail: `}`}
	if s.Queue != nil {
		out.Queue = unwrappedQueue{s.Queue, k}
	}
	if s.Stream != nil {
		out.Stream = unwrappedStream{s.Stream, k}
	}
	return &out
}

// NoNotification is the condition under which a message is given up that holds no notification of S3.
const NoNotification = "NoS3Notification"

// unwrap makes of messages what their function gets. They are the caller's: nobody else has seen them yet.
func unwrap(k Kind, all []*Record) []*Record {
	out := make([]*Record, 0, len(all))
	for _, r := range all {
		n := *r
		out = append(out, &n)
		if r.Unreadable != "" {
			continue
		}
		f, err := FilteredOf(k, r.Event)
		if err != nil || len(f.Data) == 0 {
			n.Unreadable = NoNotification
			continue
		}
		records, err := trigger.ParseS3(f.Data[len(f.Data)-1].Bytes) // of key and value, the value
		if err != nil {
			n.Unreadable = NoNotification
			continue
		}
		if n.Unwanted = len(records) == 0; n.Unwanted {
			continue
		}
		event, err := trigger.S3Event(records...)
		if err != nil {
			n.Unreadable = NoNotification
			continue
		}
		n.Event = bytes.TrimSuffix(bytes.TrimPrefix(event, []byte(`{"Records":[`)), []byte(`]}`))
		n.Group = ""
	}
	return out
}

type unwrappedQueue struct {
	Queue
	kind Kind
}

func (q unwrappedQueue) Receive(ctx context.Context, most int) ([]*Record, error) {
	all, err := q.Queue.Receive(ctx, most)
	return unwrap(q.kind, all), err
}

type unwrappedStream struct {
	Stream
	kind Kind
}

func (s unwrappedStream) Read(ctx context.Context, shard string, from Start) (Reader, error) {
	r, err := s.Stream.Read(ctx, shard, from)
	if err != nil {
		return nil, err
	}
	return unwrappedReader{r, s.kind}, nil
}

type unwrappedReader struct {
	Reader
	kind Kind
}

func (r unwrappedReader) Next(ctx context.Context, most int) ([]*Record, error) {
	all, err := r.Reader.Next(ctx, most)
	return unwrap(r.kind, all), err
}
