package calls

import (
	"strings"
	"testing"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

func TestHeaderIsPaddedToOneRead(t *testing.T) {
	b, err := Head(map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != HeadSize {
		t.Errorf("%d bytes, want %d", len(b), HeadSize)
	}
	m, body, err := statefile.SplitHeader(b)
	if err != nil || m["a"] != "b" || len(body) != 0 {
		t.Errorf("%v, %d bytes behind it, %v", m, len(body), err)
	}
	if _, err := Head(map[string]string{"a": strings.Repeat("x", HeadSize)}); err == nil {
		t.Error("a header longer than one read")
	}
}
