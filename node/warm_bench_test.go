package node

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// BenchmarkWarm is one connection's invokes of a warm function, without a signer in front: the server's and the sandbox's part. `make bench` measures the whole.
func BenchmarkWarm(b *testing.B) {
	for _, kind := range sandboxes {
		b.Run(kind, func(b *testing.B) { warm(b, kind) })
		b.Run(kind+"-two-extensions", func(b *testing.B) {
			warm(b, kind, shared(b, kind).withExtensions(map[string]string{"x": "lean events=INVOKE", "y": "lean events=INVOKE"}))
		})
	}
}

func warm(b *testing.B, kind string, opts ...option) {
	s := shared(b, kind)
	f := s.js(`exports.handler = async (e) => e`, opts...)
	url := s.node.Endpoint() + "/2015-03-31/functions/" + f.name + "/invocations"
	for b.Loop() {
		q, err := http.NewRequest("POST", url, bytes.NewReader([]byte(`{"a":1}`)))
		if err != nil {
			b.Fatal(err)
		}
		q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.StatusCode != 200 {
			b.Fatal(r.Status)
		}
	}
}
