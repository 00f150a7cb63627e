package sns

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"thaw/function"
	"thaw/push"
	"thaw/trigger"
)

// A message of an SNS elsewhere is taken when it is of the topic that the record names, its signature is that of the
// sender that the record names, it is not old, and it was not taken before. Source: SNS Developer Guide, "Verifying the
// signatures of Amazon SNS messages". S-103, S-104.

// How old a message may be: SNS tries one for an hour at most, always with its first Timestamp. Clocks differ a little.
const (
	tooOld   = 65 * time.Minute
	tooEarly = 5 * time.Minute
)

// maxSeen bounds the MessageIds that are remembered, at some 150 bytes each.
const maxSeen = 200_000

var subscriberRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// base is the sender's SCHEME://HOST[:PORT].
func (x *Subscriber) base() string {
	if x.Endpoint != "" {
		return strings.TrimSuffix(x.Endpoint, "/")
	}
	a, _ := splitARN(x.Topic)
	base := "https://sns." + a.region + ".amazonaws.com"
	if a.partition == "aws-cn" {
		base += ".cn"
	}
	return base
}

// check says what is wrong with a record, and what to do about it.
func (x *Subscriber) check() error {
	if !subscriberRE.MatchString(x.Name) {
		return fmt.Errorf("the name %q is not 1 to 64 letters, digits, - and _", x.Name)
	}
	if a, ok := splitARN(x.Topic); !ok || a.service != "sns" || a.region == "" || a.resource == "" {
		return fmt.Errorf("%q is not the ARN of a topic, arn:aws:sns:REGION:ACCOUNT:NAME", x.Topic)
	}
	if r, err := function.ParseRead(x.Function); err != nil || r.Partition == "" {
		return fmt.Errorf("%q is not the ARN of a function", x.Function)
	}
	if u, err := url.Parse(x.base()); err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("the endpoint %q is not of the form https://HOST[:PORT]", x.Endpoint)
	} else if u.Scheme == "http" && x.CA == "" {
		return fmt.Errorf("anybody on the way to %s can sign messages: use https, or give the certificate of its signatures as CA", x.Endpoint)
	}
	if x.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(x.CA)) {
		return errors.New("the CA holds no certificate in PEM")
	}
	_, err := newFilter(x.FilterPolicy, x.FilterScope)
	return err
}

// Settings are a subscriber's, as `thaw trigger add sns` gives them: the members of Subscriber.
type Settings struct {
	Topic        string `json:"topic"`
	Endpoint     string `json:"endpoint,omitempty"`
	CA           string `json:"ca,omitempty"`  // PEM
	Raw          bool   `json:"raw,omitempty"` // a secret is made for raw deliveries
	FilterPolicy string `json:"filterPolicy,omitempty"`
	FilterScope  string `json:"filterPolicyScope,omitempty"`
}

// Make makes a subscriber of settings. at is the URL that is to be subscribed at the topic; secret, where there is one, is
// its end.
func (s *Server) Make(ctx context.Context, name, fn string, set Settings) (at, secret string, err error) {
	if set.Raw {
		secret = rand.Text()
	}
	at, err = s.Subscribe(ctx, Subscriber{Name: name, Function: fn, Topic: set.Topic, Endpoint: set.Endpoint, CA: set.CA, FilterPolicy: set.FilterPolicy,
		FilterScope: set.FilterScope}, secret)
	return at, secret, err
}

// Subscribe stores a subscriber and returns the URL that is to be subscribed at the topic. secret is for raw deliveries;
// empty: those are refused. An error says what is wrong with the record.
func (s *Server) Subscribe(ctx context.Context, x Subscriber, secret string) (url string, err error) {
	if x.Secret = ""; secret != "" {
		x.Secret = hashed(secret)
	}
	x.Created = s.o.Now().UTC()
	if err := x.check(); err != nil {
		return "", err
	}
	if strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return "", errors.New("a secret is of letters, digits, - and _")
	}
	if err := s.o.Functions.May(x.delivery(nil)); err != nil {
		return "", err
	}
	if err := s.records.Put(ctx, "x/"+x.Name, &Record{Subscriber: &x}); err != nil {
		return "", err
	}
	s.door.forget(x.Name)
	if url = s.o.Base() + Path + x.Name; secret != "" {
		url += "/" + secret
	}
	return url, nil
}

// Forget removes a subscriber. push.ErrNone.
func (s *Server) Forget(ctx context.Context, name string) error {
	s.door.forget(name)
	s.counts.forget(countOf(name))
	return s.records.Delete(ctx, "x/"+name)
}

// Subscribers are all, by name.
func (s *Server) Subscribers() (list []Subscriber) {
	for _, r := range s.records.All() {
		if r.Subscriber != nil {
			list = append(list, *r.Subscriber)
		}
	}
	return list
}

func (s *Server) subscriber(name string) *Subscriber {
	if r := s.records.Get("x/" + name); r != nil {
		return r.Subscriber
	}
	return nil
}

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (x *Subscriber) delivery(event []byte) *push.Delivery {
	a, _ := splitARN(x.Topic)
	return &push.Delivery{Function: function.ARN(x.Function), Service: service, Source: x.Topic, Account: a.account, Payload: event}
}

// incoming is a request for a subscriber.
type incoming struct {
	*Subscriber
	secret string // of the path
	header http.Header
	body   []byte
	now    time.Time
}

// subscribers take what comes for them.
type subscribers struct {
	s      *Server
	certs  certificates
	seen   recent // MessageIds
	places chan struct{}

	mu      sync.Mutex
	under   map[string]bool // MessageIds that are being taken
	filters map[string]*filter
}

func (d *subscribers) open(s *Server) {
	d.s, d.seen.life, d.seen.most, d.under, d.filters = s, tooOld, maxSeen, map[string]bool{}, map[string]*filter{}
	d.places = make(chan struct{}, maxIncoming)
	d.certs.open()
}

func (d *subscribers) close() { d.certs.client.CloseIdleConnections() }

// forget has the filter of a subscriber read again.
func (d *subscribers) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.filters, name)
}

func refused(format string, v ...any) error {
	return &failure{http.StatusForbidden, "AuthorizationError", "The message is refused: " + fmt.Sprintf(format, v...)}
}

// take returns when a message is on disk, or needs not be.
func (d *subscribers) take(ctx context.Context, in *incoming) error {
	if in.secret != "" && (in.Secret == "" || subtle.ConstantTimeCompare([]byte(hashed(in.secret)), []byte(in.Secret)) != 1) {
		return refused("the secret in the path is wrong")
	}
	if strings.EqualFold(in.header.Get("x-amz-sns-rawdelivery"), "true") {
		return d.takeRaw(ctx, in)
	}
	m, err := trigger.ParseSNS(in.body)
	if err != nil {
		return &failure{http.StatusBadRequest, "InvalidParameter", err.Error()}
	}
	if err := d.verify(ctx, in, m); err != nil {
		return err
	}
	switch m.Type {
	case trigger.SNSSubscriptionConfirmation:
		return d.confirm(ctx, in, m)
	case trigger.SNSUnsubscribeConfirmation:
		d.s.o.Log.Warn("a topic no longer sends to this server: somebody has ended its subscription", "subscriber", in.Name, "topic", m.TopicARN)
		return nil
	}
	return d.notify(ctx, in, m)
}

// takeRaw takes a message without a notification around it, which nobody has signed.
func (d *subscribers) takeRaw(ctx context.Context, in *incoming) error {
	switch {
	case in.Secret == "":
		return refused("nobody signs raw deliveries, and this subscriber has no secret in its URL; make it again with one, or turn RawMessageDelivery off")
	case in.secret == "":
		return refused("nobody signs raw deliveries, so the URL must end with /SECRET")
	case in.header.Get("x-amz-sns-topic-arn") != in.Topic:
		return refused("it is of the topic %q", in.header.Get("x-amz-sns-topic-arn"))
	case in.header.Get("x-amz-sns-message-id") == "":
		return refused("it has no x-amz-sns-message-id")
	}
	return d.notify(ctx, in, &trigger.SNSMessage{Type: trigger.SNSNotification, MessageID: in.header.Get("x-amz-sns-message-id"), TopicARN: in.Topic,
		Message: string(in.body), Timestamp: trigger.SNSTime(in.now)})
}

// verify refuses what is not of the record's topic, or of its sender, or old.
func (d *subscribers) verify(ctx context.Context, in *incoming, m *trigger.SNSMessage) error {
	if m.TopicARN != in.Topic {
		return refused("it is of the topic %q", m.TopicARN)
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	if err != nil {
		return refused("its Timestamp %q is none", m.Timestamp)
	}
	if age := in.now.Sub(at); age > tooOld || age < -tooEarly {
		return refused("its Timestamp %s is too far from the time of this server, %s", m.Timestamp, trigger.SNSTime(in.now))
	}
	if err := pinned(m.SigningCertURL, in.base()); err != nil {
		return refused("SigningCertURL %v", err)
	}
	cert, err := d.certs.get(ctx, m.SigningCertURL, in.CA, in.now)
	if err != nil {
		return refused("its certificate is not good: %v", err)
	}
	if err := verify(m, cert); err != nil {
		return refused("%v", err)
	}
	return nil
}

// pinned refuses a URL that is not the sender's.
func pinned(text, base string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("is no URL")
	}
	b, err := url.Parse(base)
	if err != nil {
		return err
	}
	if u.Scheme != b.Scheme || !strings.EqualFold(u.Host, b.Host) || u.User != nil || u.Opaque != "" {
		return fmt.Errorf("is at %s://%s, and the sender is %s", u.Scheme, u.Host, base)
	}
	return nil
}

// confirm answers the question whether this subscriber wants the topic's messages.
func (d *subscribers) confirm(ctx context.Context, in *incoming, m *trigger.SNSMessage) error {
	if err := pinned(m.SubscribeURL, in.base()); err != nil {
		return refused("SubscribeURL %v", err)
	}
	u, err := url.Parse(m.SubscribeURL)
	if err != nil {
		return refused("SubscribeURL is no URL")
	}
	if q := u.Query(); q.Get("Action") != "ConfirmSubscription" || q.Get("TopicArn") != in.Topic {
		return refused("SubscribeURL confirms something else")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return refused("SubscribeURL: %v", err)
	}
	res, err := d.certs.client.Do(r)
	if err == nil {
		res.Body.Close()
		if res.StatusCode/100 != 2 {
			err = &statusError{res.StatusCode}
		}
	}
	if err != nil {
		return &failure{http.StatusBadGateway, "InternalError", "The subscription could not be confirmed: " + withoutURL(err).Error()}
	}
	d.s.o.Log.Info("a topic sends to this server", "subscriber", in.Name, "topic", in.Topic)
	return nil
}

// notify has the function get a message, once.
func (d *subscribers) notify(ctx context.Context, in *incoming, m *trigger.SNSMessage) error {
	id := in.Name + " " + m.MessageID
	if _, ok := d.seen.get(id, in.now); ok {
		return nil
	}
	d.mu.Lock()
	if d.under[id] {
		d.mu.Unlock()
		return &failure{http.StatusServiceUnavailable, "Throttled", "The same message is being taken."}
	}
	d.under[id] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.under, id)
	}()
	pass, err := d.pass(in, m)
	if err != nil || !pass {
		return err
	}
	event, err := m.Event(in.header.Get("x-amz-sns-subscription-arn"))
	if err != nil {
		return err
	}
	delivery := in.delivery(event)
	delivery.TraceID = in.header.Get("X-Amzn-Trace-Id")
	if _, err = d.s.o.Functions.Accept(ctx, delivery); err != nil {
		return notTaken(err)
	}
	d.seen.add(id, nil, in.now)
	d.s.counts.note(countOf(in.Name), in.now, nil)
	return nil
}

func (d *subscribers) pass(in *incoming, m *trigger.SNSMessage) (bool, error) {
	if in.FilterPolicy == "" {
		return true, nil
	}
	d.mu.Lock()
	f := d.filters[in.Name]
	d.mu.Unlock()
	if f == nil {
		var err error
		if f, err = newFilter(in.FilterPolicy, in.FilterScope); err != nil || f == nil {
			return err == nil, err
		}
		d.mu.Lock()
		d.filters[in.Name] = f
		d.mu.Unlock()
	}
	docs := documents{m: &Message{Text: m.Message}}
	for name, a := range m.Attributes {
		docs.m.Attributes = append(docs.m.Attributes, Attribute{Name: name, Type: a.Type, Value: a.Value})
	}
	return docs.pass(f, toHTTP), nil
}
