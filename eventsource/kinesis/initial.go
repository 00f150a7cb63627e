package kinesis

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/eventstream"

	"thaw/internal/wholebody"
)

// receiveBuffer is how much of a subscription may wait unread on its connection: the window of HTTP/2. The four MiB that
// Go's client has would be held for each shard of a function that is slow.
const receiveBuffer = 1 << 20

// dead is how long a connection may say nothing before it is asked, and how long the answer may take.
const dead = 15 * time.Second

// subscribing makes a client of HTTP fit for subscriptions: their connections hold little, those that have died are
// noticed, and the first event may be missing.
func subscribing(c aws.HTTPClient) aws.HTTPClient {
	return initialResponse{wholebody.Tuned(c, func(t *http.Transport) {
		t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: receiveBuffer, SendPingTimeout: dead, PingTimeout: dead}
	})}
}

// initialResponse gives subscriptions their first event, initial-response, where the server leaves it out: the client of
// AWS takes none without it, and kinesis-local sends none.
type initialResponse struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c initialResponse) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(r)
	if err == nil && resp.StatusCode == http.StatusOK && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".SubscribeToShard") {
		resp.Body = &withInitial{ReadCloser: resp.Body}
	}
	return resp, err
}

// withInitial reads a body that begins with initial-response, whether the server sent that or not.
type withInitial struct {
	io.ReadCloser
	looked bool
	head   io.Reader // what comes before the rest of the body
}

// Read implements io.Reader.
func (b *withInitial) Read(p []byte) (int, error) {
	if !b.looked {
		b.looked = true
		b.head = look(b.ReadCloser)
	}
	if b.head != nil {
		if n, err := b.head.Read(p); n > 0 || err != io.EOF {
			return n, err
		}
		b.head = nil
	}
	return b.ReadCloser.Read(p)
}

const initialEvent = "initial-response"

// look reads the first event, and returns what the client is to read instead. What is no event is left to the client.
func look(r io.Reader) io.Reader {
	var raw bytes.Buffer
	first, err := eventstream.NewDecoder().Decode(io.TeeReader(r, &raw), nil)
	if err != nil {
		return &raw
	}
	if kind := first.Headers.Get(eventstream.EventTypeHeader); kind != nil && kind.String() == initialEvent {
		return &raw
	}
	var m eventstream.Message
	m.Headers.Set(eventstream.MessageTypeHeader, eventstream.StringValue(eventstream.EventMessageType))
	m.Headers.Set(eventstream.EventTypeHeader, eventstream.StringValue(initialEvent))
	var initial bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&initial, m); err != nil {
		return &raw
	}
	return io.MultiReader(&initial, &raw)
}
