package wholebody_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

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

func TestTuned(t *testing.T) {
	for name, c := range map[string]aws.HTTPClient{"none": nil, "the SDK's": awshttp.NewBuildableClient(), "whole": wholebody.Client(nil), "whole twice": wholebody.Client(wholebody.Client(nil))} {
		changed := false
		wholebody.Tuned(c, func(*http.Transport) { changed = true })
		if !changed {
			t.Errorf("%s: its transport was not changed", name)
		}
	}
	wholebody.Tuned(http.DefaultClient, func(*http.Transport) { t.Error("somebody's own transport was changed") })
}
