package wholebody_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"thaw/internal/wholebody"
)

// body is one that tells of its end once it is closed, as the SDK's do.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

func TestABodyIsSentWhole(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.ContentLength != int64(len(b)) {
			t.Errorf("%d bytes of %d", len(b), r.ContentLength)
		}
		got <- string(b)
	}))
	defer s.Close()
	for _, text := range []string{"", "{}", strings.Repeat("x", 100_000)} {
		b := &body{Reader: strings.NewReader(text)}
		r, err := http.NewRequest("POST", s.URL, b)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := wholebody.Client(s.Client()).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sent := <-got; sent != text || !b.closed || r.Body != b {
			t.Errorf("%d bytes arrived of %d, closed: %v", len(sent), len(text), b.closed)
		}
	}
}
