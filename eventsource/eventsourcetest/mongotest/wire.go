package mongotest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The opcodes that drivers of this decade send. OP_QUERY comes once a connection, with the first hello.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

const (
	headerSize = 16
	maxMessage = 48_000_000 // as maxMessageSizeBytes says
)

// request is one command.
type request struct {
	id      int32
	legacy  bool // OP_QUERY: the answer is an OP_REPLY
	command bson.Raw
	// sequences are the documents that OP_MSG has beside the command: documents, updates, deletes.
	sequences map[string][]bson.Raw
}

func readRequest(r *bufio.Reader) (*request, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	length := int(binary.LittleEndian.Uint32(header[:]))
	if length < headerSize || length > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	body := make([]byte, length-headerSize)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	q := &request{id: int32(binary.LittleEndian.Uint32(header[4:])), sequences: map[string][]bson.Raw{}}
	switch code := binary.LittleEndian.Uint32(header[12:]); code {
	case opMsg:
		return q, q.sections(body)
	case opQuery:
		q.legacy = true
		return q, q.query(body)
	default:
		return nil, fmt.Errorf("opcode %d", code)
	}
}

var errShort = errors.New("a message that ends too soon")

// sections reads an OP_MSG: flags, one section of kind 0, any number of kind 1.
func (q *request) sections(b []byte) error {
	if len(b) < 5 {
		return errShort
	}
	for b = b[4:]; len(b) > 0; {
		kind := b[0]
		b = b[1:]
		switch kind {
		case 0:
			doc, rest, err := document(b)
			if err != nil {
				return err
			}
			q.command, b = doc, rest
		case 1:
			if len(b) < 4 || int(binary.LittleEndian.Uint32(b)) > len(b) {
				return errShort
			}
			section, rest := b[4:binary.LittleEndian.Uint32(b)], b[binary.LittleEndian.Uint32(b):]
			name, docs, err := cstring(section)
			if err != nil {
				return err
			}
			for len(docs) > 0 {
				var doc bson.Raw
				if doc, docs, err = document(docs); err != nil {
					return err
				}
				q.sequences[name] = append(q.sequences[name], doc)
			}
			b = rest
		default:
			return fmt.Errorf("a section of kind %d", kind)
		}
	}
	if q.command == nil {
		return errShort
	}
	return nil
}

// query reads an OP_QUERY: flags, collection, two counts, the command.
func (q *request) query(b []byte) error {
	if len(b) < 4 {
		return errShort
	}
	_, rest, err := cstring(b[4:])
	if err != nil || len(rest) < 8 {
		return errShort
	}
	q.command, _, err = document(rest[8:])
	return err
}

func document(b []byte) (doc bson.Raw, rest []byte, err error) {
	if len(b) < 5 || int(binary.LittleEndian.Uint32(b)) > len(b) {
		return nil, nil, errShort
	}
	doc, rest = bson.Raw(b[:binary.LittleEndian.Uint32(b)]), b[binary.LittleEndian.Uint32(b):]
	return doc, rest, doc.Validate()
}

func cstring(b []byte) (s string, rest []byte, err error) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], nil
		}
	}
	return "", nil, errShort
}

// answer makes the message that answers a request.
func (q *request) answer(doc bson.D) ([]byte, error) {
	b, err := bson.Marshal(doc)
	if err != nil {
		return nil, err
	}
	out := binary.LittleEndian.AppendUint32(nil, 0) // the length, when it is known
	out = binary.LittleEndian.AppendUint32(out, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(q.id))
	if q.legacy {
		out = binary.LittleEndian.AppendUint32(out, opReply)
		out = append(out, make([]byte, 4+8+4)...) // flags, cursor, from where
		out = binary.LittleEndian.AppendUint32(out, 1)
	} else {
		out = binary.LittleEndian.AppendUint32(out, opMsg)
		out = binary.LittleEndian.AppendUint32(out, 0)
		out = append(out, 0)
	}
	out = append(out, b...)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out, nil
}
