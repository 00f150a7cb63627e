package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/google/uuid"

	"thaw/async"
	"thaw/invoke"
	"thaw/push"
	"thaw/trigger"
)

type publishResult struct {
	MessageID      string `xml:"MessageId"`
	SequenceNumber string `xml:",omitempty"`
}

func publish(c *call) (any, error) {
	parameter := "TopicArn"
	switch {
	case c.p.Get("PhoneNumber") != "":
		return nil, unsupported("This server sends to functions, queues and HTTP endpoints, not to phones: publish to a TopicArn.")
	case c.p.Get("TopicArn") == "" && c.p.Has("TargetArn"):
		parameter = "TargetArn"
	}
	if parameter == "TargetArn" && strings.Contains(c.p.Get(parameter), ":endpoint/") {
		return nil, unsupported("This server sends to functions, queues and HTTP endpoints, not to apps: publish to a TopicArn.")
	}
	m, err := c.message("")
	if err != nil {
		return nil, err
	}
	t, err := c.topicOf(parameter, "Publish")
	if err != nil {
		return nil, err
	}
	if err := m.checkFor(t); err != nil {
		return nil, err
	}
	if m.size() > maxMessage {
		return nil, invalid("Message too long")
	}
	if err := c.s.send(c.ctx, t, []*Message{m}); err != nil {
		return nil, err
	}
	return publishResult{m.ID, m.Sequence}, nil
}

// message reads a message whose parameters begin with a prefix.
func (c *call) message(prefix string) (*Message, error) {
	p := c.p
	if !p.Has(prefix + "Message") {
		return nil, missing("message")
	}
	m := &Message{Type: trigger.SNSNotification, ID: uuid.NewString(), Text: p.Get(prefix + "Message"), At: c.s.o.Now().UTC(), Group: p.Get(prefix + "MessageGroupId"),
		Dedup: p.Get(prefix + "MessageDeduplicationId"), Trace: c.trace}
	if m.Text == "" {
		return nil, invalid("Empty message")
	}
	if p.Has(prefix + "Subject") {
		subject := p.Get(prefix + "Subject")
		if err := checkSubject(subject); err != nil {
			return nil, err
		}
		m.Subject = &subject
	}
	var err error
	if m.Attributes, err = p.attributes(prefix); err != nil {
		return nil, err
	}
	for i := range m.Attributes {
		if err := m.Attributes[i].check(); err != nil {
			return nil, err
		}
	}
	return m, m.structure(p.Get(prefix + "MessageStructure"))
}

// checkFor checks what depends on the topic, and fills it in.
func (m *Message) checkFor(t *topic) error {
	m.Topic, m.FIFO, m.SignatureVersion = t.ARN, t.FIFO(), t.Attributes[signatureVersion]
	if m.SignatureVersion == "" {
		m.SignatureVersion = "1"
	}
	switch {
	case m.Group != "" && !keyRE.MatchString(m.Group):
		return invalid("MessageGroupId")
	case m.Dedup != "" && !keyRE.MatchString(m.Dedup):
		return invalid("MessageDeduplicationId")
	case !m.FIFO && m.Dedup != "":
		return invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	case !m.FIFO:
		return nil
	case m.Group == "":
		return invalid("The MessageGroupId parameter is required for FIFO topics")
	case m.Dedup == "" && t.Attributes[contentDedup] != "true":
		return invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	case m.Dedup == "":
		m.Dedup = contentID(m.Text)
	}
	return nil
}

// seenKey is what duplicates of a message are told by.
func (m *Message) seenKey(t *topic) string {
	key := t.ARN + "\x00" + m.Dedup
	if t.Attributes["FifoThroughputScope"] == "MessageGroup" {
		key += "\x00" + m.Group
	}
	return key
}

type (
	batchSuccess struct {
		ID             string `xml:"Id"`
		MessageID      string `xml:"MessageId"`
		SequenceNumber string `xml:",omitempty"`
	}
	batchFailure struct {
		ID            string `xml:"Id"`
		Code, Message string
		SenderFault   bool
	}
	batchResult struct {
		Successful struct {
			Member []batchSuccess `xml:"member"`
		}
		Failed struct {
			Member []batchFailure `xml:"member"`
		}
	}
)

var batchIDRE = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

const maxBatch = 10

func batchError(code, format string, v ...any) error {
	return &failure{http.StatusBadRequest, code, fmt.Sprintf(format, v...)}
}

// batchIDs checks how many entries there are, and their IDs.
func batchIDs(p params, at []string) error {
	seen := map[string]bool{}
	switch {
	case len(at) == 0:
		return batchError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(at) > maxBatch:
		return batchError("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	for _, prefix := range at {
		id := p.Get(prefix + ".Id")
		switch {
		case len(id) > 80:
			return batchError("InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: %s", id)
		case !batchIDRE.MatchString(id):
			return batchError("InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: %s", id)
		case seen[id]:
			return batchError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[id] = true
	}
	return nil
}

func publishBatch(c *call) (any, error) {
	at := c.p.items("PublishBatchRequestEntries", "member")
	if err := batchIDs(c.p, at); err != nil {
		return nil, err
	}
	t, err := c.topicOf("TopicArn", "Publish")
	if err != nil {
		return nil, err
	}
	var out batchResult
	var messages []*Message
	var ids []string
	size := 0
	for _, prefix := range at {
		m, err := c.message(prefix + ".")
		if err == nil {
			err = m.checkFor(t)
		}
		if err != nil { // seen on the service: what is wrong with the form of one refuses all
			return nil, err
		}
		size += m.size()
		messages, ids = append(messages, m), append(ids, c.p.Get(prefix+".Id"))
	}
	if size > maxMessage {
		return nil, batchError("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	if err := c.s.send(c.ctx, t, messages); err != nil {
		return nil, err
	}
	for i, m := range messages {
		out.Successful.Member = append(out.Successful.Member, batchSuccess{ids[i], m.ID, m.Sequence})
	}
	return out, nil
}

// send returns when every delivery of the messages is on disk.
func (s *Server) send(ctx context.Context, t *topic, messages []*Message) error {
	if t.FIFO() {
		return s.sendInOrder(ctx, t, messages)
	}
	others, errs := make([][]storedDelivery, len(messages)), make([]error, len(messages))
	var all sync.WaitGroup // functions of all messages share a sync
	for i, m := range messages {
		all.Go(func() {
			calls, rest := s.addressees(t, m)
			var dead []storedDelivery
			dead, errs[i] = s.toFunctions(ctx, m, calls)
			others[i] = append(rest, dead...)
		})
	}
	all.Wait()
	var letters []stored
	for i, m := range messages {
		if errs[i] != nil {
			return errs[i]
		}
		if len(others[i]) > 0 {
			letters = append(letters, stored{m, others[i]})
		}
	}
	_, err := s.put(ctx, letters, true)
	return err
}

// addressees are the functions that get a message, and the others.
func (s *Server) addressees(t *topic, m *Message) (calls []*sub, others []storedDelivery) {
	d := documents{m: m}
	for _, b := range t.subs {
		switch {
		case b.Pending || b.Ended || !d.pass(b.filter, b.Protocol):
		case b.Protocol == toLambda:
			calls = append(calls, b)
		default:
			others = append(others, storedDelivery{Sub: b.ARN})
		}
	}
	return calls, others
}

// put writes letters, and sends them unless somebody else does.
func (s *Server) put(ctx context.Context, letters []stored, send bool) ([]*letter, error) {
	if len(letters) == 0 {
		return nil, nil
	}
	var bodies [][]byte
	for _, l := range letters {
		b, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, b)
	}
	seqs, err := s.o.Mailbox.Put(ctx, bodies...)
	if err != nil {
		return nil, unavailable(err)
	}
	var all []*letter
	for i, l := range letters {
		if l.Message.FIFO {
			l.Message.Sequence = sequence(seqs[i])
		}
		all = append(all, newLetter(seqs[i], l.Message, l.To))
	}
	if send {
		s.courier.take(all...)
	}
	return all, nil
}

// post sends one message to some.
func (s *Server) post(ctx context.Context, m *Message, to []storedDelivery) error {
	_, err := s.put(ctx, []stored{{m, to}}, true)
	return err
}

// unavailable is what whoever publishes is told when nothing can be accepted.
func unavailable(err error) error {
	if errors.Is(err, async.ErrFull) || errors.Is(err, async.ErrStopping) {
		return &failure{http.StatusServiceUnavailable, "InternalError", "The message was not accepted: " + err.Error() + ". It may be sent again."}
	}
	return err
}

// sendInOrder is send of a FIFO topic. A duplicate is answered as the message that was accepted.
func (s *Server) sendInOrder(ctx context.Context, t *topic, messages []*Message) error {
	t.fifo.Lock()
	defer t.fifo.Unlock()
	var letters []stored
	new := map[string]*Message{}
	for _, m := range messages {
		key := m.seenKey(t)
		if s.seen.fill(key, m, s.o.Now()) {
			continue
		}
		if first := new[key]; first != nil {
			m.ID = first.ID
			continue
		}
		new[key] = m
		_, to := s.addressees(t, m)
		letters = append(letters, stored{m, to})
	}
	all, err := s.put(ctx, letters, false)
	if err != nil {
		return err
	}
	for key, m := range new {
		if err := s.o.Mailbox.See(ctx, key, m.seenValue()); err != nil {
			// They are on disk: they are sent, and whoever publishes may do so again.
			s.courier.take(all...)
			return unavailable(err)
		}
	}
	for key, m := range new {
		s.seen.add(key, m.seenValue(), s.o.Now())
	}
	for _, m := range messages { // those that were there twice
		if first := new[m.seenKey(t)]; first != nil {
			m.Sequence = first.Sequence
		}
	}
	s.courier.take(all...)
	return nil
}

// acceptAtOnce is how many functions of one message are on their way to the queue at one time: they share a sync.
const acceptAtOnce = 64

// toFunctions puts a message into the queues of functions. Those that do not take it get it as a dead letter, where there is
// a queue for these.
func (s *Server) toFunctions(ctx context.Context, m *Message, calls []*sub) (dead []storedDelivery, err error) {
	if len(calls) == 0 {
		return nil, nil
	}
	n := m.notification(calls[0].Subscription, s.o.Base())
	if err := s.signer.sign(n, s.o.Base()); err != nil {
		return nil, err
	}
	errs := make([]error, len(calls))
	places := make(chan struct{}, acceptAtOnce)
	var all sync.WaitGroup
	for i, b := range calls {
		places <- struct{}{}
		all.Go(func() {
			errs[i] = s.toFunction(ctx, m, n, b.Subscription)
			<-places
		})
	}
	all.Wait()
	for i, b := range calls {
		refused := errors.As(errs[i], new(*invoke.NotFoundError)) || errors.As(errs[i], new(*push.NotAllowedError))
		switch {
		case errs[i] == nil:
		case !refused:
			return nil, unavailable(errs[i])
		case b.redrive != "":
			code, words := reasonOf(&async.PermanentError{Err: errs[i]})
			dead = append(dead, storedDelivery{Sub: b.ARN, State: Parked, Code: code, Words: words})
		default:
			s.o.Log.Error("a message did not arrive, and is lost: the function does not take it, and the subscription has no dead-letter queue", "subscription", b.ARN, "error", errs[i])
		}
	}
	return dead, nil
}

func (s *Server) toFunction(ctx context.Context, m *Message, n *trigger.SNSMessage, b *Subscription) error {
	event, err := s.event(n, b)
	if err != nil {
		return err
	}
	_, err = s.o.Functions.Accept(ctx, &push.Delivery{Function: functionARN(b.Endpoint), Service: service, Source: m.Topic, Payload: event, TraceID: m.Trace})
	s.counts.note(b.ARN, m.At, err)
	return err
}
