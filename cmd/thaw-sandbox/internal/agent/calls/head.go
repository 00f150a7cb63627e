package calls

import (
	"encoding/json"
	"fmt"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// HeadSize is the size of a read of the state, and what the head is padded to: so it is one read of its own.
const HeadSize = 16 << 10

// Head makes the head of every restore: what gVisor has to know before it asks for the kernel.
func Head(metadata map[string]string) ([]byte, error) {
	b, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	if len(b) > HeadSize-16 {
		return nil, fmt.Errorf("header of %d bytes", len(b))
	}
	return statefile.AppendHeader(nil, b, HeadSize), nil
}
