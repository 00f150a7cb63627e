package logstore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// blockBytes is the size of a block, about: what is read at once, and left out at once when nothing in it can be wanted.
const blockBytes = 256 << 10

// segment is one file, written up to size. What stands in it is known by block and by stream when it is scanned.
type segment struct {
	num         uint64
	size        int64
	first, last int64 // earliest and latest Time in it
	began       time.Time
	scanned     bool
	edition     int // grows when the file is written anew
	blocks      []block
	streams     map[string]*streamPart
}

// block is a part of a segment: some whole lines.
type block struct {
	offset, size int64
	first, last  int64 // earliest and latest Time in it
	lastID       uint64
	streams      []string
}

// streamPart is what a segment has of a stream.
type streamPart struct {
	info  StreamInfo
	block int // the last one that names it
}

// see notes events of one stream and time, of which l is the last, with messages of so many bytes, whose lines of n bytes
// begin at offset.
func (seg *segment) see(l *line, stream string, events int, message, offset, n int64) {
	if len(seg.blocks) == 0 {
		seg.first, seg.last = l.time, l.time
	}
	seg.first, seg.last = min(seg.first, l.time), max(seg.last, l.time)
	at := len(seg.blocks) - 1
	if at < 0 || seg.blocks[at].size >= blockBytes {
		seg.blocks = append(seg.blocks, block{offset: offset, first: l.time, last: l.time})
		at++
	}
	b := &seg.blocks[at]
	b.size = offset + n - b.offset
	b.first, b.last, b.lastID = min(b.first, l.time), max(b.last, l.time), l.id
	part := seg.streams[stream]
	if part == nil {
		part = &streamPart{info: StreamInfo{Name: stream, Created: l.arrived, First: l.time, Last: l.time}, block: -1}
		if seg.streams == nil {
			seg.streams = map[string]*streamPart{}
		}
		seg.streams[stream] = part
	}
	part.info.add(StreamInfo{Created: l.arrived, First: l.time, Last: l.time, LastArrived: l.arrived, Events: events, Bytes: message})
	if part.block != at {
		b.streams = append(b.streams, part.info.Name)
		part.block = at
	}
}

// behind is where events with larger IDs than id begin, as far as is known.
func (seg *segment) behind(id uint64) int64 {
	if !seg.scanned || id == 0 {
		return 0
	}
	for i := range seg.blocks {
		if seg.blocks[i].lastID > id {
			return seg.blocks[i].offset
		}
	}
	return seg.size
}

// scan reads the file of a segment and calls f with each good line, its place and its length. buf is the line's own.
func scan(path string, size int64, f func(l *line, offset, n int64, raw []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(io.LimitReader(file, size), 64<<10)
	for offset := int64(0); offset < size; {
		raw, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if l, ok := parseLine(bytes.TrimSuffix(raw, []byte("\n"))); ok {
			if err := f(&l, offset, int64(len(raw)), raw); err != nil {
				return err
			}
		}
		offset += int64(len(raw))
	}
	return nil
}

// readLine gives a line with its newline; it is valid until the next read.
func readLine(lines *bufio.Reader) ([]byte, error) {
	raw, err := lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		var rest []byte
		raw = bytes.Clone(raw)
		rest, err = lines.ReadBytes('\n')
		raw = append(raw, rest...)
	}
	return raw, err
}

// scanned reads what an earlier server wrote into a segment.
func scanned(path string, num uint64, size int64) (*segment, error) {
	seg := &segment{num: num, size: size, scanned: true}
	names := interned{}
	err := scan(path, size, func(l *line, offset, n int64, _ []byte) error {
		seg.see(l, names.of(l.stream), 1, int64(len(l.message)), offset, n)
		return nil
	})
	return seg, err
}

// interned holds each stream's name once.
type interned map[string]string

func (in interned) of(b []byte) string {
	s, ok := in[string(b)] // does not allocate
	if !ok {
		s = string(b)
		in[s] = s
	}
	return s
}

// index makes all segments of a group scanned, and gives the group. What is complete is read without holding up the writer.
func (s *Store) index(name string) (*group, error) {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	s.disk.Lock()
	defer s.disk.Unlock()
	for {
		g := s.groups[name]
		if g == nil {
			return nil, fmt.Errorf("%s: %w", name, ErrNoGroup)
		}
		seg := g.unscanned()
		if seg == nil {
			return g, nil
		}
		edition, path, num, size, newest := seg.edition, g.path(seg.num), seg.num, seg.size, seg == g.newest()
		if !newest {
			s.disk.Unlock()
		}
		full, err := scanned(path, num, size)
		if !newest {
			s.disk.Lock()
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("log group %s: %w", name, err)
		}
		if seg.edition == edition && !seg.scanned {
			seg.first, seg.last, seg.blocks, seg.streams, seg.scanned = full.first, full.last, full.blocks, full.streams, true
		}
	}
}

func (g *group) unscanned() *segment {
	for _, seg := range g.segs {
		if !seg.scanned {
			return seg
		}
	}
	return nil
}
