package sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// A thousand queues without messages are polled fifty times a second for as long as the server runs. The requests are the
// least of it: each of them wakes a processor that sleeps, and while one waits for its answer, the SDK's layers are on a
// stack of 32 KB and hold as much beside it. So a queue that had nothing the last time is polled in another way. The SDK
// makes the request, and reads the answer if that has messages; nothing of the SDK waits in between. And where there are
// many such queues, their polls begin together, and so they end together.

// Polls of queues that have nothing, where there are at least many of them, begin in the first quarter of a second, soon
// after the first of them could. Those that end later wait for the next second: as a poll takes whole seconds, and ends some
// milliseconds late, that is once in minutes. Nobody looks at the queue then, and for soon in twenty seconds.
const (
	many    = 50
	soon    = 20 * time.Millisecond
	quarter = time.Second / 4
)

// pauseAt is how long a poll that could begin now waits for others.
func pauseAt(now time.Time, open int) time.Duration {
	into := now.Sub(now.Truncate(time.Second))
	switch {
	case open < many:
		return 0
	case into < quarter:
		return soon
	}
	return time.Second - into
}

// quiet begins polls of queues that have nothing.
type quiet struct {
	mu   sync.Mutex
	open int      // polls that wait for their answers, or to begin
	due  []func() // what begins together
}

// begin has f called soon, beside others.
func (g *quiet) begin(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open++
	if g.due = append(g.due, f); len(g.due) == 1 {
		time.AfterFunc(pauseAt(time.Now(), g.open), g.all)
	}
}

// all calls what is due, one after the other: one stack grows, and none that lasts.
func (g *quiet) all() {
	g.mu.Lock()
	due := g.due
	g.due = nil
	g.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// end takes note of the end of a poll.
func (g *quiet) end() {
	g.mu.Lock()
	g.open--
	g.mu.Unlock()
}

// made is the request that the SDK would send.
func (q *queue) made(ctx context.Context, in *sqs.ReceiveMessageInput) (*http.Request, error) {
	var kept keeper
	_, err := q.client.ReceiveMessage(ctx, in, instead(&kept))
	if kept.request == nil {
		return nil, err
	}
	return kept.request.WithContext(ctx), nil // the SDK ends its own context
}

// sent waits for the answer to a request that was made. none: there are no messages. Otherwise the SDK reads the answer.
func (q *queue) sent(ctx context.Context, r *http.Request, in *sqs.ReceiveMessageInput) (out *sqs.ReceiveMessageOutput, none bool, err error) {
	resp, err := q.client.Options().HTTPClient.Do(r)
	if err != nil {
		return nil, false, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, false, err
	}
	var brief struct{ Messages []struct{} }
	if resp.StatusCode == http.StatusOK && json.Unmarshal(body, &brief) == nil && len(brief.Messages) == 0 {
		return nil, true, nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	out, err = q.client.ReceiveMessage(ctx, in, instead(answered{resp}))
	return out, false, err
}

// instead has a call go to c, once.
func instead(c aws.HTTPClient) func(*sqs.Options) {
	return func(o *sqs.Options) { o.HTTPClient, o.Retryer = c, aws.NopRetryer{} }
}

var errKept = errors.New("the request is sent later")

// keeper keeps the request that it is to send.
type keeper struct{ request *http.Request }

// Do implements aws.HTTPClient.
func (k *keeper) Do(r *http.Request) (*http.Response, error) {
	sent := *r // the SDK closes its body
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		sent.Body = io.NopCloser(bytes.NewReader(b))
	}
	k.request = &sent
	return nil, errKept
}

// answered has the answer already.
type answered struct{ response *http.Response }

// Do implements aws.HTTPClient.
func (a answered) Do(*http.Request) (*http.Response, error) { return a.response, nil }
