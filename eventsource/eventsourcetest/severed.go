package eventsourcetest

import (
	"context"
	"time"

	"thaw/eventsource"
	"thaw/eventsource/poller"
)

// severed is a driver as a server has it that may be killed: nothing that a dead server would do reaches the source.
type severed struct {
	eventsource.Driver
	server *Server
}

func (d severed) Open(ctx context.Context, m *eventsource.Mapping, f eventsource.Facts) (*eventsource.Source, error) {
	src, err := d.Driver.Open(ctx, m, f)
	if err != nil {
		return nil, err
	}
	s := *src
	if s.Queue != nil {
		s.Queue = severedQueue{s.Queue, d.server}
	}
	if s.Stream != nil {
		s.Stream = severedStream{s.Stream, d.server}
	}
	return &s, nil
}

type severedQueue struct {
	eventsource.Queue
	server *Server
}

func (q severedQueue) Acknowledge(ctx context.Context, all []*eventsource.Record) error {
	if q.server.Dead() {
		return errDead
	}
	return q.Queue.Acknowledge(ctx, all)
}

func (q severedQueue) GiveBack(ctx context.Context, all []*eventsource.Record, why eventsource.Why) error {
	if q.server.Dead() {
		return errDead
	}
	return q.Queue.GiveBack(ctx, all, why)
}

type severedStream struct {
	eventsource.Stream
	server *Server
}

func (s severedStream) Read(ctx context.Context, shard string, from eventsource.Start) (eventsource.Reader, error) {
	r, err := s.Stream.Read(ctx, shard, from)
	if err != nil {
		return nil, err
	}
	return severedReader{r, s.server}, nil
}

type severedReader struct {
	eventsource.Reader
	server *Server
}

// Behind implements poller.Behind.
func (r severedReader) Behind() time.Duration {
	if b, ok := r.Reader.(poller.Behind); ok {
		return b.Behind()
	}
	return -1
}

func (r severedReader) Commit(ctx context.Context, position string) error {
	if r.server.Dead() {
		return errDead
	}
	return r.Reader.Commit(ctx, position)
}
