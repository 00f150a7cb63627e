package sns

import (
	"context"
	"strings"
	"sync"
	"time"

	"thaw/access"
	"thaw/async"
	"thaw/function"
	"thaw/iam"
	"thaw/push"
	"thaw/trigger"
)

// service is what functions' policies call SNS.
const service = "sns.amazonaws.com"

func functionARN(endpoint string) function.ARN { return function.ARN(endpoint) }

// plan implements carrier.
func (s *Server) plan(arn string) *plan {
	b := s.sub(arn)
	switch {
	case b == nil:
		return nil
	case b.Protocol == toHTTP || b.Protocol == toHTTPS:
		return &plan{b.policy.Retries, b.policy.PerSecond, b.redrive != ""}
	}
	return &plan{forQueues, 0, b.redrive != ""}
}

// opened implements carrier: a death may have come between a letter and the note that it was seen.
func (s *Server) opened(m *Message) {
	t := s.topic(m.Topic)
	if m.FIFO && t != nil {
		s.seen.add(m.seenKey(t), m.seenValue(), m.At)
	}
}

// attempt implements carrier.
func (s *Server) attempt(ctx context.Context, m *Message, arn string) error {
	b := s.sub(arn)
	if b == nil || m.Type == trigger.SNSNotification && (b.Pending || b.Ended) {
		return errGone
	}
	if b.Protocol == toSQS {
		return s.toQueue(ctx, m, b.Subscription)
	}
	return s.toEndpoint(ctx, m, b.Subscription, b.policy)
}

// bury implements carrier. A dead letter is what the endpoint would have got.
func (s *Server) bury(ctx context.Context, m *Message, arn, code, words string) error {
	b := s.sub(arn)
	if b == nil || b.redrive == "" {
		return &async.PermanentError{Err: errGone}
	}
	body, err := s.bodyFor(m, b.Subscription)
	if err != nil {
		return err
	}
	q := &push.QueueMessage{Queue: b.redrive, Body: string(body), Trace: m.Trace,
		Attributes: []push.QueueAttribute{{Name: "RequestID", Type: "String", Value: m.ID}, {Name: "ErrorCode", Type: "String", Value: code}}}
	if words != "" {
		q.Attributes = append(q.Attributes, push.QueueAttribute{Name: "ErrorMessage", Type: "String", Value: words})
	}
	if fifoQueue(b.redrive) {
		q.Group, q.Dedup = m.Group, m.Dedup
	}
	return s.o.Queues.ToQueue(ctx, q)
}

// recent remembers keys for a while.
type recent struct {
	mu   sync.Mutex
	life time.Duration // 0: seenFor
	most int           // of keys; 0: no bound. Over it the older ones are forgotten before their time
	all  map[string]seenEntry
	next time.Time // when the old ones are looked for
}

type seenEntry struct {
	value string
	at    time.Time
}

// seenFor is the deduplication interval of FIFO topics.
const seenFor = 5 * time.Minute

func (r *recent) lifetime() time.Duration {
	if r.life == 0 {
		return seenFor
	}
	return r.life
}

// load is told of a key that was seen before the server was started.
func (r *recent) load(key string, value []byte, at time.Time) { r.add(key, value, at) }

func (r *recent) add(key string, value []byte, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]seenEntry{}
	}
	if old, ok := r.all[key]; ok && old.at.After(at) {
		return
	}
	r.all[key] = seenEntry{string(value), at}
	life := r.lifetime()
	crowded := r.most > 0 && len(r.all) > r.most
	if at.Before(r.next) && !crowded {
		return
	}
	r.next = at.Add(time.Minute)
	for life > time.Second {
		for k, e := range r.all {
			if at.Sub(e.at) >= life {
				delete(r.all, k)
			}
		}
		if r.most == 0 || len(r.all) <= r.most/2 || !crowded {
			return
		}
		life /= 2
	}
}

func (r *recent) get(key string, now time.Time) (value string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.all[key]
	return e.value, ok && now.Sub(e.at) < r.lifetime()
}

// fill makes a message the one that was seen with the same key; false: none was.
func (r *recent) fill(key string, m *Message, now time.Time) bool {
	value, ok := r.get(key, now)
	if ok {
		m.ID, m.Sequence, _ = strings.Cut(value, " ")
	}
	return ok
}

func (m *Message) seenValue() []byte { return []byte(m.ID + " " + m.Sequence) }

// ToTopic implements push.Topics.
func (s *Server) ToTopic(ctx context.Context, in *push.TopicMessage) (ours bool, err error) {
	t := s.topic(in.Topic)
	if t == nil {
		return false, nil
	}
	if in.Service != "" && s.o.Functions.Enforced() {
		if err := s.mayPublish(t, in); err != nil {
			return true, err
		}
	}
	c := &call{s: s, ctx: ctx, trace: in.Trace, p: params{map[string][]string{"Message": {in.Message}}}}
	for name, value := range map[string]string{"Subject": in.Subject, "MessageGroupId": in.Group, "MessageDeduplicationId": in.Dedup} {
		if value != "" {
			c.p.Set(name, value)
		}
	}
	m, err := c.message("")
	if err != nil {
		return true, &async.PermanentError{Err: err}
	}
	for _, a := range in.Attributes {
		m.Attributes = append(m.Attributes, Attribute{Name: a.Name, Type: a.Type, Value: a.Value})
	}
	if err := m.checkFor(t); err != nil {
		return true, &async.PermanentError{Err: err}
	}
	return true, s.send(ctx, t, []*Message{m})
}

// mayPublish asks a topic's policy whether a service may publish.
func (s *Server) mayPublish(t *topic, in *push.TopicMessage) error {
	p, err := iam.Parse([]byte(t.policy()), iam.Resource)
	if err != nil {
		return err
	}
	who, known := access.ServiceOf(in.Service), iam.Context{}
	known.Set("aws:SourceArn", in.Source)
	known.Set("aws:SourceAccount", s.o.AccountID)
	if !who.May(iam.Ask{Action: "SNS:Publish", Resource: t.ARN, Context: known}, t.Owner, p).OK() {
		return &push.TopicNotAllowedError{Topic: t.ARN, Service: in.Service, Source: in.Source}
	}
	return nil
}
