package sns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"thaw/access"
	"thaw/iam"
	"thaw/push"
)

// Options of a Server. All are required but those that say otherwise.
type Options struct {
	Records   push.Documents
	Mailbox   push.Mailbox
	Functions *push.Functions
	Queues    push.Queues
	AccountID string
	Dir       string        // of the key that messages are signed with; made when it is needed
	Base      func() string // http://HOST:PORT, what this server is called by subscribers
	// LocalEndpoints lets subscriptions lead to the loopback, as they may where this server listens there; AnyEndpoints,
	// anywhere.
	LocalEndpoints, AnyEndpoints bool
	Log                          *slog.Logger
	Now                          func() time.Time // nil: time.Now
}

// Server is SNS: an api.Service, an api.Front and push.Topics.
type Server struct {
	o       Options
	records *push.Table[Record]
	courier *courier
	signer  signer
	client  *http.Client
	seen    recent
	door    subscribers
	counts  tally

	subscribing sync.Mutex // one at a time: an endpoint has one subscription

	mu     sync.RWMutex
	topics map[string]*topic // by ARN
	subs   map[string]*sub   // by ARN
	tokens map[string]string // ARN of a subscription
}

// topic is a topic as Publish needs it. Members but fifo change under Server.mu.
type topic struct {
	*Topic
	subs []*sub      // by ARN, those that are not confirmed as well; never changed in place
	fifo *sync.Mutex // held from the check of duplicates until the letter has its number
}

// sub is a subscription as Publish needs it. It is never changed.
type sub struct {
	*Subscription
	filter  *filter
	policy  *policy // of HTTP endpoints
	redrive string  // ARN of the dead-letter queue
}

// Open reads the topics, and goes on with what is in the mailbox.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, signer: signer{dir: o.Dir}, client: newClient(o.LocalEndpoints, o.AnyEndpoints), topics: map[string]*topic{}, subs: map[string]*sub{},
		tokens: map[string]string{}}
	var err error
	if s.records, err = push.OpenTable[Record](ctx, o.Records); err != nil {
		return nil, err
	}
	all := s.records.All()
	for _, r := range all { // subscriptions need their topics
		if r.Topic != nil {
			s.show(r.Topic.ARN)
		}
	}
	for _, r := range all { // sorted, and so are the lists of the topics then
		if b := r.Subscription; b != nil {
			next := s.compile(b)
			s.subs[b.ARN] = next
			if b.Token != "" {
				s.tokens[b.Token] = b.ARN
			}
			if t := s.topics[b.Topic]; t != nil {
				t.subs = append(t.subs, next)
			}
		}
	}
	if err := o.Mailbox.Seen(ctx, s.seen.load); err != nil {
		return nil, err
	}
	s.door.open(s)
	if s.courier, err = openCourier(ctx, o.Mailbox, s, o.Log); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends all deliveries; what is in the mailbox is sent after the next Open.
func (s *Server) Close() error {
	s.courier.close()
	s.client.CloseIdleConnections()
	s.door.close()
	return nil
}

// show makes what is in memory of a topic that of its record.
func (s *Server) show(arn string) {
	r := s.records.Get("t/" + arn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil {
		delete(s.topics, arn)
		return
	}
	t := &topic{Topic: r.Topic, fifo: &sync.Mutex{}}
	if was := s.topics[arn]; was != nil {
		t.subs, t.fifo = was.subs, was.fifo
	}
	s.topics[arn] = t
	for i, b := range t.subs { // its delivery policy may be another
		if p, err := policyOf(t.Attributes[deliveryPolicy], b.Attributes[deliveryPolicy]); err == nil {
			next := *b
			next.policy = p
			t.subs = slices.Clone(t.subs)
			t.subs[i] = &next
			s.subs[b.ARN] = &next
		}
	}
}

// showSub is show of a subscription.
func (s *Server) showSub(arn string) {
	r := s.records.Get("s/" + arn)
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.subs[arn]
	if was != nil {
		delete(s.tokens, was.Token)
	}
	if r == nil {
		delete(s.subs, arn)
		s.counts.forget(arn)
		if was != nil {
			s.placeLocked(was.Topic, arn, nil)
		}
		return
	}
	b := s.compile(r.Subscription)
	s.subs[arn] = b
	if b.Token != "" {
		s.tokens[b.Token] = arn
	}
	s.placeLocked(b.Topic, arn, b)
}

// compile makes of a record what Publish needs. Whoever calls it has mu, or nobody else knows the server yet.
func (s *Server) compile(of *Subscription) *sub {
	b := &sub{Subscription: of, redrive: redriveOf(of.Attributes[redrivePolicy])}
	var err error
	if b.filter, err = newFilter(b.Attributes[filterPolicy], b.Attributes[filterScope]); err != nil { // it was checked when it was set
		s.o.Log.Error("the filter policy of a subscription cannot be read: it gets nothing", "subscription", of.ARN, "error", err)
		b.filter = &filter{}
	}
	var ofTopic string
	if t := s.topics[b.Topic]; t != nil {
		ofTopic = t.Attributes[deliveryPolicy]
	}
	if b.policy, err = policyOf(ofTopic, b.Attributes[deliveryPolicy]); err != nil {
		b.policy, _ = policyOf("", "") //nolint:errcheck // the usual one
	}
	return b
}

// placeLocked puts a subscription into its topic's list, which is sorted; nil takes it out.
func (s *Server) placeLocked(topicARN, arn string, b *sub) {
	was := s.topics[topicARN]
	if was == nil {
		return
	}
	t := *was
	i, found := slices.BinarySearchFunc(t.subs, arn, func(x *sub, arn string) int { return compare(x.ARN, arn) })
	t.subs = slices.Clone(t.subs)
	switch {
	case found && b == nil:
		t.subs = slices.Delete(t.subs, i, i+1)
	case found:
		t.subs[i] = b
	case b != nil:
		t.subs = slices.Insert(t.subs, i, b)
	}
	s.topics[topicARN] = &t
}

// list are a topic's subscriptions; of none, nil, there are none.
func (t *topic) list() []*sub {
	if t == nil {
		return nil
	}
	return t.subs
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *Server) topic(arn string) *topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.topics[arn]
}

func (s *Server) sub(arn string) *sub {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.subs[arn]
}

// changeTopic changes a topic's record, and what is in memory of it. change gets a copy, and none when there is none.
func (s *Server) changeTopic(ctx context.Context, arn string, change func(t *Topic) error) error {
	err := s.records.Change(ctx, "t/"+arn, func(old *Record) (*Record, error) {
		if old == nil {
			return nil, notFound("Topic")
		}
		t := copyOf(old.Topic)
		return &Record{Topic: t}, change(t)
	})
	if err == nil {
		s.show(arn)
	}
	return err
}

// changeSub is changeTopic of a subscription.
func (s *Server) changeSub(ctx context.Context, arn string, change func(b *Subscription) error) error {
	err := s.records.Change(ctx, "s/"+arn, func(old *Record) (*Record, error) {
		if old == nil {
			return nil, notFound("Subscription")
		}
		b := *old.Subscription
		b.Attributes = cloneMap(b.Attributes)
		return &Record{Subscription: &b}, change(&b)
	})
	if err == nil {
		s.showSub(arn)
	}
	return err
}

// removeSub removes a subscription; one that is not there is no error.
func (s *Server) removeSub(ctx context.Context, arn string) error {
	if err := s.records.Delete(ctx, "s/"+arn); err != nil && !errors.Is(err, push.ErrNone) {
		return err
	}
	s.showSub(arn)
	return nil
}

// Name implements api.Service.
func (*Server) Name() string { return "sns" }

// Target implements api.Service: requests say in their body what they are for.
func (*Server) Target() string { return "" }

// Needs implements api.Service. What concerns a topic is decided by its policy, too, so each operation asks itself.
func (*Server) Needs(*http.Request, string, string, []byte) []iam.Ask { return nil }

// call is a request on its way through an operation.
type call struct {
	s      *Server
	ctx    context.Context
	who    *access.Caller // nil: nobody signed (front.go)
	region string
	p      params
	trace  string
}

type operation func(c *call) (result any, err error)

func (s *Server) operations() map[string]operation {
	return map[string]operation{
		"CreateTopic": createTopic, "DeleteTopic": deleteTopic, "ListTopics": listTopics, "GetTopicAttributes": getTopicAttributes,
		"SetTopicAttributes": setTopicAttributes, "AddPermission": addPermission, "RemovePermission": removePermission,
		"Subscribe": subscribe, "ConfirmSubscription": confirmSubscription, "Unsubscribe": unsubscribe, "ListSubscriptions": listSubscriptions,
		"ListSubscriptionsByTopic": listSubscriptionsByTopic, "GetSubscriptionAttributes": getSubscriptionAttributes,
		"SetSubscriptionAttributes": setSubscriptionAttributes, "Publish": publish, "PublishBatch": publishBatch,
		"TagResource": tagResource, "UntagResource": untagResource, "ListTagsForResource": listTags,
		"GetDataProtectionPolicy": getDataProtection, "PutDataProtectionPolicy": putDataProtection,
	}
}

// elsewhere are operations of the service for what this server does not send to: phones and apps.
var elsewhere = []string{"CheckIfPhoneNumberIsOptedOut", "CreatePlatformApplication", "CreatePlatformEndpoint", "CreateSMSSandboxPhoneNumber", "DeleteEndpoint",
	"DeletePlatformApplication", "DeleteSMSSandboxPhoneNumber", "GetEndpointAttributes", "GetPlatformApplicationAttributes", "GetSMSAttributes",
	"GetSMSSandboxAccountStatus", "ListEndpointsByPlatformApplication", "ListOriginationNumbers", "ListPhoneNumbersOptedOut", "ListPlatformApplications",
	"ListSMSSandboxPhoneNumbers", "OptInPhoneNumber", "SetEndpointAttributes", "SetPlatformApplicationAttributes", "SetSMSAttributes", "VerifySMSSandboxPhoneNumber"}

// Serve implements api.Service.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, _, region string, body []byte) {
	p, err := readParams(r, body)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.answer(w, &call{s: s, ctx: r.Context(), who: access.CallerOf(r.Context()), region: region, p: p, trace: r.Header.Get("X-Amzn-Trace-Id")})
}

func (s *Server) answer(w http.ResponseWriter, c *call) {
	name := c.p.Get("Action")
	do := s.operations()[name]
	var err error
	switch {
	case slices.Contains(elsewhere, name):
		err = unsupported("This server sends to functions, queues and HTTP endpoints, not to phones and apps: %s is not here.", name)
	case do == nil:
		err = &failure{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %s for version %s", name, c.p.Get("Version"))}
	}
	var result any
	if err == nil {
		result, err = do(c)
	}
	var b []byte
	if err == nil {
		b, err = answer(name, result, w.Header().Get("X-Amzn-Requestid"))
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	write(w, http.StatusOK, "text/xml", b)
}

// may refuses what the sender may not do. resource is the policy of what it is about; empty: that has none.
func (c *call) may(action, arn, resource string) error {
	if c.who != nil && c.who.Everything {
		return nil
	}
	who := c.who
	if who == nil {
		who = &access.Caller{}
	}
	var p *iam.Policy
	if resource != "" {
		var err error
		if p, err = iam.Parse([]byte(resource), iam.Resource); err != nil {
			return fmt.Errorf("policy of %s: %w", arn, err)
		}
	}
	if d := who.May(iam.Ask{Action: "SNS:" + action, Resource: arn}, c.s.o.AccountID, p); !d.OK() {
		return &failure{http.StatusForbidden, "AuthorizationError", d.Message()}
	}
	return nil
}
