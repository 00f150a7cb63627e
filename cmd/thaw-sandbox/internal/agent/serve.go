package agent

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/state/checkpointfiles"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
)

// files implements stateipc.AsyncFileServerImpl: what gVisor's restore opens.
type files struct{ src *source }

// Destroy implements stateipc.AsyncFileServerImpl.
func (*files) Destroy() {}

// OpenWrite implements stateipc.AsyncFileServerImpl.
func (*files) OpenWrite(path string) (stateio.AsyncWriter, error) {
	return nil, fmt.Errorf("%s: read-only", path)
}

// OpenRead implements stateipc.AsyncFileServerImpl.
func (f *files) OpenRead(path string) (stateio.AsyncReader, error) {
	switch path {
	case checkpointfiles.StateFileName:
		return &stream{src: f.src, isState: true}, nil
	case checkpointfiles.PagesMetadataFileName:
		return &stream{src: f.src}, nil
	case checkpointfiles.PagesFileName:
		return &pages{src: f.src}, nil
	}
	return nil, fmt.Errorf("%s: %w", path, unix.ENOENT)
}

// A read that gVisor has asked for.
type read struct {
	id  int
	off int64
	dst []byte
}

// stream serves the state, or the pages' metadata, from memory. Reads past what may be seen wait.
type stream struct {
	stateio.NoRegisterClientFD
	src     *source
	isState bool
	queue   []read
}

func (s *stream) Close() error         { return nil }
func (s *stream) MaxReadBytes() uint64 { return calls.HeadSize }
func (s *stream) MaxRanges() int       { return 1 }
func (s *stream) MaxParallel() int     { return 32 }

// AddRead implements stateio.AsyncReader.
func (s *stream) AddRead(id int, off int64, _ stateio.DestinationFile, _ memmap.FileRange, dst []byte) {
	s.queue = append(s.queue, read{id, off, dst})
}

// AddReadv implements stateio.AsyncReader. It is not called: MaxRanges is 1.
func (s *stream) AddReadv(id int, off int64, _ uint64, _ stateio.DestinationFile, _ []memmap.FileRange, dst []unix.Iovec) {
	s.AddRead(id, off, nil, memmap.FileRange{}, stateio.SliceFromIovec(dst[0]))
}

// Wait implements stateio.AsyncReader.
func (s *stream) Wait(cs []stateio.Completion, atLeast int) ([]stateio.Completion, error) {
	src := s.src
	src.mu.Lock()
	defer src.mu.Unlock()
	done := 0
	for {
		rest := s.queue[:0]
		for _, r := range s.queue {
			c, ok := s.tryLocked(r)
			if !ok {
				rest = append(rest, r)
				continue
			}
			cs = append(cs, c)
			done++
		}
		s.queue = rest
		if done >= atLeast {
			return cs, nil
		}
		if s.isState && !src.parked {
			src.parked = true
			src.news.Broadcast()
		}
		src.news.Wait()
	}
}

func (s *stream) tryLocked(r read) (stateio.Completion, bool) {
	src := s.src
	c := stateio.Completion{ID: r.id}
	if src.err != nil {
		c.Err = unix.EIO
		return c, true
	}
	data, off := src.meta, r.off
	switch {
	case s.isState && off < calls.HeadSize:
		src.reserve.make() // gVisor has made its memory file by now, and may still look into /proc
		data = src.head
	case s.isState && !src.going, src.made == nil:
		return c, false
	case s.isState:
		data, off = src.state, off-calls.HeadSize
		if !src.bound && off+int64(len(r.dst)) >= int64(len(data)) {
			return c, false
		}
	}
	if off < int64(len(data)) {
		c.N = uint64(copy(r.dst, data[off:]))
	}
	if c.N < uint64(len(r.dst)) {
		c.Err = io.EOF
		if s.isState && !src.drained {
			src.drained = true
			src.mark(markState)
		}
	}
	return c, true
}
