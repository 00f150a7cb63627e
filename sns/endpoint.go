package sns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"thaw/async"
	"thaw/internal/nearby"
	"thaw/push"
	"thaw/trigger"
)

// attemptLimit bounds one request to an endpoint. Source: SNS Developer Guide, "endpoints ... respond within 15 seconds".
const attemptLimit = 15 * time.Second

const agent = "Amazon Simple Notification Service Agent"

// forbidden says why an address is no endpoint: what is on this host, or next to it, trusts requests that come from here.
// local lets this host be one, and anywhere everything.
func forbidden(a netip.Addr, local, anywhere bool) error {
	switch {
	case anywhere:
	case nearby.Link(a):
		return fmt.Errorf("%s is a link-local address, of this host's own: requests to it are not sent for subscriptions unless the server was started with --sns-local-endpoints", a)
	case !local && nearby.Own(a):
		return fmt.Errorf("%s is an address of this host: requests to it are not sent for subscriptions unless the server was started with --sns-local-endpoints", a)
	}
	return nil
}

// newClient is what requests to endpoints are sent with. It looks at the address that a name leads to when it connects,
// follows nothing and uses no proxy.
func newClient(local, anywhere bool) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err == nil {
			err = forbidden(a.Addr(), local, anywhere)
		}
		if err != nil {
			return &async.PermanentError{Err: err}
		}
		return nil
	}}
	t := &http.Transport{DialContext: d.DialContext, ForceAttemptHTTP2: true, MaxIdleConns: 64, MaxIdleConnsPerHost: perEndpoint, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10}
	return &http.Client{Transport: t, Timeout: attemptLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// statusError is an endpoint's answer that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the endpoint answered %d %s", e.code, http.StatusText(e.code))
}

// reasonOf is what a dead letter says of an error.
func reasonOf(err error) (code, words string) {
	var status *statusError
	code, words = "500", err.Error()
	if errors.As(err, &status) {
		code = fmt.Sprint(status.code)
	}
	var permanent *async.PermanentError
	if errors.As(err, &permanent) && status == nil {
		code = "200" // what AWS says of an endpoint that is not there, or that it may not use
	}
	return code, words[:min(len(words), 1024)]
}

// toEndpoint sends a message to an HTTP endpoint.
func (s *Server) toEndpoint(ctx context.Context, m *Message, sub *Subscription, p *policy) error {
	body, err := s.bodyFor(m, sub)
	if err != nil {
		return err
	}
	u, err := url.Parse(sub.Endpoint)
	if err != nil {
		return &async.PermanentError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return &async.PermanentError{Err: err}
	}
	h := r.Header
	h.Set("x-amz-sns-message-type", m.Type)
	h.Set("x-amz-sns-message-id", m.ID)
	h.Set("x-amz-sns-topic-arn", m.Topic)
	h.Set("Content-Type", plainText)
	h.Set("User-Agent", agent)
	if m.Type != trigger.SNSSubscriptionConfirmation {
		h.Set("x-amz-sns-subscription-arn", sub.ARN)
	}
	if m.Type == trigger.SNSNotification {
		h.Set("Content-Type", p.ContentType)
		if sub.Raw() {
			h.Set("x-amz-sns-rawdelivery", "true")
		}
	}
	if m.Trace != "" {
		h.Set("X-Amzn-Trace-Id", m.Trace)
	}
	res, err := s.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) //nolint:errcheck // for the connection's next request alone
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests:
		return &statusError{res.StatusCode}
	}
	return &async.PermanentError{Err: &statusError{res.StatusCode}} // documented: it will not get better
}

// withoutURL is why a request did not come through, without where it went: endpoints have secrets in their URLs, and
// confirmations tokens, which belong into no log and no dead letter.
func withoutURL(err error) error {
	if of := (*url.Error)(nil); errors.As(err, &of) {
		return of.Err
	}
	return err
}

// bodyFor is what an endpoint or a queue gets.
func (s *Server) bodyFor(m *Message, sub *Subscription) ([]byte, error) {
	if sub.Raw() && m.Type == trigger.SNSNotification {
		return []byte(m.textFor(sub.Protocol)), nil
	}
	n := m.notification(sub, s.o.Base())
	if err := s.signer.sign(n, s.o.Base()); err != nil {
		return nil, err
	}
	return n.Body()
}

// maxQueueAttributes is how many a queue's message may have: with more a raw message is not delivered. Source: SNS
// Developer Guide, "raw message delivery".
const maxQueueAttributes = 10

// toQueue sends a message to a queue.
func (s *Server) toQueue(ctx context.Context, m *Message, sub *Subscription) error {
	body, err := s.bodyFor(m, sub)
	if err != nil {
		return err
	}
	q := &push.QueueMessage{Queue: sub.Endpoint, Body: string(body), Group: m.Group, Trace: m.Trace}
	if fifoQueue(sub.Endpoint) {
		q.Dedup = m.Dedup
	}
	if sub.Raw() {
		if len(m.Attributes) > maxQueueAttributes {
			return &async.PermanentError{Err: fmt.Errorf("the message has %d attributes; delivered raw to a queue it may have %d", len(m.Attributes), maxQueueAttributes)}
		}
		for _, a := range m.Attributes {
			q.Attributes = append(q.Attributes, push.QueueAttribute{Name: a.Name, Type: a.Type, Value: a.Value})
		}
	}
	return s.o.Queues.ToQueue(ctx, q)
}

// event is what a function gets.
func (s *Server) event(n *trigger.SNSMessage, sub *Subscription) ([]byte, error) {
	own := *n
	own.UnsubscribeURL = unsubscribeURL(s.o.Base(), sub.ARN)
	return own.Event(sub.ARN)
}
