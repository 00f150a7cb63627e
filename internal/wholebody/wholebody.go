// Package wholebody keeps AWS's Go SDK from closing connections that it still reads from.
package wholebody

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Client is for the HTTPClient of a client's options; nil is the SDK's own. It sends each body out of memory that nobody closes.
//
// The SDK closes a request's body as soon as the answer begins. net/http may not have noticed the body's end by then: it sends the last bytes, and asks for more only
// afterwards. What it gets is an error (io.EOF from WriteTo), upon which it closes the connection under whoever reads the answer. A server far
// away does not answer in that time; one on the same busy machine does. Seen with smithy-go 1.28.8 and Go 1.26.
func Client(next aws.HTTPClient) aws.HTTPClient {
	if next == nil {
		next = awshttp.NewBuildableClient()
	}
	if whole, ok := next.(client); ok {
		return whole
	}
	return client{next}
}

// Tuned is a Client whose transport is changed. What is not the SDK's own stays as it is.
func Tuned(c aws.HTTPClient, change func(*http.Transport)) aws.HTTPClient {
	whole := Client(c).(client)
	if own, ok := whole.next.(*awshttp.BuildableClient); ok {
		whole.next = own.WithTransportOptions(change)
	}
	return whole
}

type client struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c client) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return c.next.Do(r)
	}
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	sent := *r
	sent.Body, sent.ContentLength = http.NoBody, 0
	if len(b) > 0 {
		sent.Body, sent.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	}
	return c.next.Do(&sent)
}
