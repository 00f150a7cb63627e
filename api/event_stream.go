package api

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"sync"
)

// maxChunk bounds the payload of one message; clients take 16 MiB at most.
const maxChunk = 64 << 10

// eventStream writes messages of the event stream encoding. Source: Smithy, "Amazon Event Stream Specification".
type eventStream struct {
	c       *call
	version string

	mu    sync.Mutex // the pool may call from another goroutine than the one that asked
	begun bool
	frame []byte
}

func (s *eventStream) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// Head implements function.StreamSink. The function's content type has no place in this answer.
func (s *eventStream) Head(string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
	return http.NewResponseController(s.c.w).Flush()
}

func (s *eventStream) beginLocked() {
	if s.begun {
		return
	}
	s.begun = true
	h := s.c.w.Header()
	h["Content-Type"] = []string{"application/vnd.amazon.eventstream"}
	h["X-Amz-Executed-Version"] = []string{s.version}
	s.c.w.WriteHeader(http.StatusOK)
}

// The header blocks never change.
var (
	chunkHeaders    = eventHeaders(":message-type", "event", ":event-type", "PayloadChunk", ":content-type", "application/octet-stream")
	completeHeaders = eventHeaders(":message-type", "event", ":event-type", "InvokeComplete", ":content-type", "application/json")
)

func eventHeaders(nameValue ...string) []byte {
	const typeString = 7
	var b []byte
	for i := 0; i < len(nameValue); i += 2 {
		b = append(b, byte(len(nameValue[i])))
		b = append(b, nameValue[i]...)
		b = append(b, typeString)
		b = binary.BigEndian.AppendUint16(b, uint16(len(nameValue[i+1])))
		b = append(b, nameValue[i+1]...)
	}
	return b
}

// appendMessage appends one message: lengths, their CRC, headers, payload, the CRC of all that.
func appendMessage(b, headers, payload []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(16+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	b = append(b, headers...)
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// Chunk implements function.StreamSink.
func (s *eventStream) Chunk(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
	for len(payload) > 0 {
		n := min(len(payload), maxChunk)
		s.frame = appendMessage(s.frame[:0], chunkHeaders, payload[:n])
		if _, err := s.c.w.Write(s.frame); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return http.NewResponseController(s.c.w).Flush()
}

func (s *eventStream) complete(end any) error {
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
	s.c.w.Write(appendMessage(nil, completeHeaders, b)) //nolint:errcheck // nobody to tell
	return nil
}

// exception ends a stream that the platform broke off.
func (s *eventStream) exception(e *Error) error {
	b, err := json.Marshal(map[string]string{"message": e.Message})
	if err != nil {
		return err
	}
	headers := eventHeaders(":message-type", "exception", ":exception-type", e.Code, ":content-type", "application/json")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.w.Write(appendMessage(nil, headers, b)) //nolint:errcheck // nobody to tell
	return nil
}
