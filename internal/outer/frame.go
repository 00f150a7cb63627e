package outer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The machine speaks and the runner listens. A frame is a kind (1 byte), the length of its body (4 bytes, big-endian), and
// the body.
const (
	frameBegan  = 'b' // the program is being started
	frameOutput = 'o' // bytes that it has printed
	frameNote   = 'n' // a text about the machine itself
	frameFile   = 'f' // a file that was asked for: its path, a NUL, its content
	frameExit   = 'x' // the exit code (4 bytes); the last frame
)

// maxFrame bounds a frame: files that come back are reports, not images.
const maxFrame = 64 << 20

func writeFrame(w io.Writer, kind byte, body []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}

func exitBody(code int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(code)) }

func readExit(body []byte) (int, error) {
	if len(body) != 4 {
		return 0, errors.New("an exit code that is none")
	}
	return int(binary.BigEndian.Uint32(body)), nil
}

func fileBody(name string, data []byte) []byte { return append([]byte(name+"\x00"), data...) }

func readFile(body []byte) (name string, data []byte, err error) {
	head, data, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return "", nil, errors.New("a file without a name")
	}
	return string(head), data, nil
}
