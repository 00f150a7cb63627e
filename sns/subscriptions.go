package sns

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"thaw/function"
	"thaw/trigger"
)

// Protocols of subscriptions.
const (
	toLambda = "lambda"
	toSQS    = "sqs"
	toHTTP   = "http"
	toHTTPS  = "https"
)

// checkEndpoint says what is wrong with who is to get the messages of a topic.
func checkEndpoint(t *topic, protocol, endpoint string) error {
	switch protocol {
	case toLambda, toSQS, toHTTP, toHTTPS:
	case "email", "email-json", "sms", "firehose", "application":
		return unsupported("This server sends to functions, queues and HTTP endpoints: the protocol %s is not here. Use lambda, sqs, http or https.", protocol)
	default:
		return invalid("Amazon SNS does not support this protocol string: %s", protocol)
	}
	if t.FIFO() && protocol != toSQS {
		return invalid("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")
	}
	switch protocol {
	case toLambda:
		r, err := function.ParseRead(endpoint)
		if err != nil || r.Partition == "" {
			return invalid("Lambda endpoint ARN")
		}
	case toSQS:
		a, ok := splitARN(endpoint)
		if !ok || a.service != "sqs" || a.resource == "" || strings.Contains(a.resource, ":") {
			return invalid("SQS endpoint ARN")
		}
		if fifoQueue(endpoint) && !t.FIFO() {
			return invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
		}
	default:
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != protocol || u.Host == "" {
			return invalid("Endpoint must match the specified protocol")
		}
	}
	return nil
}

// checkSubAttribute says what is wrong with an attribute. why begins what is said.
func checkSubAttribute(t *topic, b *Subscription, name, why string) error {
	value := b.Attributes[name]
	switch name {
	case filterPolicy, filterScope:
		scope := b.Attributes[filterScope]
		if scope != "" && scope != byAttributes && scope != byBody {
			return invalid("%sFilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", why, scope)
		}
		if _, err := newFilter(b.Attributes[filterPolicy], scope); err != nil {
			return invalid("%s%v", why, err)
		}
	case rawDelivery:
		if value != "true" && value != "false" {
			return invalid("%sRawMessageDelivery: Invalid value [%s]. Must be true or false.", why, value)
		}
		if value == "true" && b.Protocol == toLambda {
			return invalid("%sDelivery protocol [lambda] does not support raw message delivery.", why)
		}
	case redrivePolicy:
		return checkRedrive(t, b, value, why)
	case deliveryPolicy:
		if value != "" && b.Protocol != toHTTP && b.Protocol != toHTTPS {
			return invalid("%sDelivery protocol [%s] does not support a delivery policy.", why, b.Protocol)
		}
		if _, err := policyOf("", value); err != nil {
			return invalid("%s%v", why, err)
		}
	case "ReplayPolicy", "SubscriptionRoleArn":
		if value != "" {
			return unsupported("This server has no archives of messages and no delivery streams: leave %s away.", name)
		}
	default:
		return invalid("%sAttributeName", why)
	}
	return nil
}

func checkRedrive(t *topic, b *Subscription, value, why string) error {
	if value == "" {
		return nil
	}
	var r map[string]any
	if json.Unmarshal([]byte(value), &r) != nil {
		return invalid("%sRedrivePolicy: failed to parse JSON.", why)
	}
	arn, _ := r["deadLetterTargetArn"].(string)
	a, ok := splitARN(arn)
	if !ok || a.service != "sqs" || a.resource == "" {
		return invalid("%sRedrivePolicy: deadLetterTargetArn is an invalid arn", why)
	}
	if t.FIFO() && fifoQueue(b.Endpoint) != fifoQueue(arn) {
		return invalid("%sRedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.", why)
	}
	if !t.FIFO() && fifoQueue(arn) {
		return invalid("%sRedrivePolicy: must use a standard queue as DLQ for a subscription to a standard topic.", why)
	}
	return nil
}

type subscriptionResult struct{ SubscriptionArn string }

const pendingConfirmation = "pending confirmation"

func subscribe(c *call) (any, error) {
	protocol, err := c.p.must("Protocol")
	if err != nil {
		return nil, err
	}
	t, err := c.topicOf("TopicArn", "Subscribe")
	if err != nil {
		return nil, err
	}
	endpoint := c.p.Get("Endpoint")
	if endpoint == "" {
		return nil, invalid("Endpoint Reason: it is empty")
	}
	if err := checkEndpoint(t, protocol, endpoint); err != nil {
		return nil, err
	}
	given := c.p.table("Attributes")
	b := &Subscription{ARN: t.ARN + ":" + uuid.NewString(), Topic: t.ARN, Owner: c.s.o.AccountID, Protocol: protocol, Endpoint: endpoint, Created: c.s.o.Now().UTC(),
		Attributes: given}
	if c.who != nil {
		b.Principal, b.Owner = c.who.ARN, c.who.Account
	}
	if v, ok := given[rawDelivery]; ok {
		given[rawDelivery] = strings.ToLower(v)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := checkSubAttribute(t, b, name, "Attributes Reason: "); err != nil {
			return nil, err
		}
	}
	c.s.subscribing.Lock()
	defer c.s.subscribing.Unlock()
	c.s.sweep(c)
	for _, old := range c.s.topic(t.ARN).list() {
		if old.Endpoint == endpoint && old.Protocol == protocol && !old.Ended {
			return c.again(old.Subscription, given)
		}
	}
	return c.add(b)
}

// sweep removes subscriptions whose tokens are no longer good.
func (s *Server) sweep(c *call) {
	s.mu.RLock()
	var old []string
	for arn, b := range s.subs {
		if (b.Pending || b.Ended) && s.o.Now().Sub(b.Asked) > tokenLife {
			old = append(old, arn)
		}
	}
	s.mu.RUnlock()
	for _, arn := range old {
		if err := s.removeSub(c.ctx, arn); err != nil {
			s.o.Log.Warn("a subscription that nobody confirmed cannot be removed", "subscription", arn, "error", err)
		}
	}
}

// again answers for what is subscribed already. One that waits for its confirmation is sent another.
func (c *call) again(old *Subscription, given map[string]string) (any, error) {
	for name, value := range given {
		if old.Attributes[name] != value {
			return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
		}
	}
	if !old.Pending {
		return subscriptionResult{old.ARN}, nil
	}
	return c.ask(old)
}

// add makes a subscription. Functions and queues need no confirmation: they are of the sender's account.
func (c *call) add(b *Subscription) (any, error) {
	b.Pending = b.Protocol == toHTTP || b.Protocol == toHTTPS
	b.Authenticated = !b.Pending
	if err := c.s.records.Put(c.ctx, "s/"+b.ARN, &Record{Subscription: b}); err != nil {
		return nil, err
	}
	c.s.showSub(b.ARN)
	if !b.Pending {
		return subscriptionResult{b.ARN}, nil
	}
	return c.ask(b)
}

// ask sends a confirmation.
func (c *call) ask(b *Subscription) (any, error) {
	if err := c.s.confirmation(c, b.ARN, trigger.SNSSubscriptionConfirmation); err != nil {
		return nil, err
	}
	if c.p.Get("ReturnSubscriptionArn") == "true" {
		return subscriptionResult{b.ARN}, nil
	}
	return subscriptionResult{pendingConfirmation}, nil
}

// confirmation gives a subscription a new token, and sends it to the endpoint.
func (s *Server) confirmation(c *call, arn, kind string) error {
	random := make([]byte, 64)
	rand.Read(random) //nolint:errcheck // never fails: documented
	token := hex.EncodeToString(random)
	var b *Subscription
	err := s.changeSub(c.ctx, arn, func(next *Subscription) error {
		next.Token, next.Asked = token, s.o.Now().UTC()
		b = next
		return nil
	})
	if err != nil {
		return err
	}
	words := "You have chosen to subscribe to the topic " + b.Topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message."
	if kind == trigger.SNSUnsubscribeConfirmation {
		words = "You have chosen to deactivate subscription " + arn + ".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
	}
	m := &Message{Type: kind, ID: uuid.NewString(), Topic: b.Topic, Text: words, At: s.o.Now().UTC(), Token: token, SignatureVersion: s.versionOf(b.Topic)}
	return s.post(c.ctx, m, []storedDelivery{{Sub: arn}})
}

func (s *Server) versionOf(topicARN string) string {
	if t := s.topic(topicARN); t != nil && t.Attributes[signatureVersion] != "" {
		return t.Attributes[signatureVersion]
	}
	return "1"
}

func confirmSubscription(c *call) (any, error) {
	token, err := c.p.must("Token")
	if err != nil {
		return nil, err
	}
	if c.who != nil { // whoever has the token may, but a signature must be good for something
		if err := c.may("ConfirmSubscription", c.p.Get("TopicArn"), ""); err != nil {
			return nil, err
		}
	}
	c.s.mu.RLock()
	arn := c.s.tokens[token]
	c.s.mu.RUnlock()
	b := c.s.sub(arn)
	if b == nil || b.Token != token || c.s.o.Now().Sub(b.Asked) > tokenLife {
		return nil, invalid("Token")
	}
	if b.Topic != c.p.Get("TopicArn") {
		return nil, invalid("TopicArn")
	}
	return subscriptionResult{arn}, c.s.changeSub(c.ctx, arn, func(next *Subscription) error {
		next.Authenticated = c.who != nil
		next.SignedEnd = c.who != nil && strings.EqualFold(c.p.Get("AuthenticateOnUnsubscribe"), "true")
		next.Pending, next.Ended = false, false
		return nil
	})
}

// subOf is the subscription that a request names, when the sender may do this with it.
func (c *call) subOf(action string) (*sub, error) {
	arn, err := c.p.must("SubscriptionArn")
	if err != nil {
		return nil, err
	}
	if _, ok := splitARN(arn); !ok {
		return nil, invalid("SubscriptionArn Reason: An ARN must have at least 6 elements, not %d", len(strings.Split(arn, ":")))
	}
	if strings.Count(arn, ":") < 6 {
		return nil, invalid("SubscriptionId")
	}
	b := c.s.sub(arn)
	if c.who != nil {
		if err := c.may(action, arn[:strings.LastIndexByte(arn, ':')], ""); err != nil {
			return nil, err
		}
	}
	if b == nil || b.Ended {
		return nil, notFound("Subscription")
	}
	return b, nil
}

func unsubscribe(c *call) (any, error) {
	b, err := c.subOf("Unsubscribe")
	if f := (*failure)(nil); asFailure(err, &f) && f.code == "NotFound" {
		return nil, nil // it is no error, as on the service
	}
	if err != nil {
		return nil, err
	}
	switch {
	case c.who == nil && b.SignedEnd:
		return nil, &failure{403, "AuthorizationError", "Whoever confirmed this subscription wants requests to end it signed: aws sns unsubscribe --subscription-arn " + b.ARN}
	case c.who == nil && (b.Protocol == toHTTP || b.Protocol == toHTTPS): // the endpoint may bring it back
		err = c.s.changeSub(c.ctx, b.ARN, func(next *Subscription) error { next.Ended = true; return nil })
		if err == nil {
			err = c.s.confirmation(c, b.ARN, trigger.SNSUnsubscribeConfirmation)
		}
	default:
		err = c.s.removeSub(c.ctx, b.ARN)
	}
	if err != nil {
		return nil, err
	}
	err = c.s.changeTopic(c.ctx, b.Topic, func(t *Topic) error { t.Deleted++; return nil })
	if f := (*failure)(nil); asFailure(err, &f) { // the topic is gone meanwhile
		err = nil
	}
	return nil, err
}

type shownSubscription struct{ SubscriptionArn, Owner, Protocol, Endpoint, TopicArn string }

type subscriptionsResult struct {
	Subscriptions struct {
		Member []shownSubscription `xml:"member"`
	}
	NextToken string `xml:",omitempty"`
}

func (c *call) list(all []*sub) (any, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(b *sub) bool { return b.Ended })
	list, next, err := page(all, func(b *sub) string { return b.ARN }, c.p.Get("NextToken"))
	out := subscriptionsResult{NextToken: next}
	for _, b := range list {
		v := shownSubscription{b.ARN, b.Owner, b.Protocol, b.Endpoint, b.Topic}
		if b.Pending {
			v.SubscriptionArn = "PendingConfirmation"
		}
		out.Subscriptions.Member = append(out.Subscriptions.Member, v)
	}
	return out, err
}

func listSubscriptions(c *call) (any, error) {
	if err := c.may("ListSubscriptions", "*", ""); err != nil {
		return nil, err
	}
	prefix := c.s.topicARN(c.region, "")
	c.s.mu.RLock()
	var all []*sub
	for arn, b := range c.s.subs {
		if strings.HasPrefix(arn, prefix) {
			all = append(all, b)
		}
	}
	c.s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *sub) int { return compare(a.ARN, b.ARN) })
	return c.list(all)
}

func listSubscriptionsByTopic(c *call) (any, error) {
	t, err := c.topicOf("TopicArn", "ListSubscriptionsByTopic")
	if err != nil {
		return nil, err
	}
	return c.list(t.subs)
}

func getSubscriptionAttributes(c *call) (any, error) {
	b, err := c.subOf("GetSubscriptionAttributes")
	if err != nil {
		return nil, err
	}
	word := map[bool]string{true: "true", false: "false"}
	all := attributeMap{"SubscriptionArn": b.ARN, "TopicArn": b.Topic, "Owner": b.Owner, "Protocol": b.Protocol, "Endpoint": b.Endpoint,
		"ConfirmationWasAuthenticated": word[b.Authenticated], "PendingConfirmation": word[b.Pending], rawDelivery: "false", "SubscriptionPrincipal": b.Principal}
	maps.Copy(all, b.Attributes)
	switch {
	case b.Attributes[filterPolicy] == "":
		delete(all, filterPolicy)
		delete(all, filterScope)
	case all[filterScope] == "":
		all[filterScope] = byAttributes
	}
	for name, value := range all {
		if value == "" {
			delete(all, name)
		}
	}
	if b.Protocol == toHTTP || b.Protocol == toHTTPS {
		all["EffectiveDeliveryPolicy"] = b.policy.effective(false)
	}
	return attributesResult{all}, nil
}

func setSubscriptionAttributes(c *call) (any, error) {
	name, err := c.p.must("AttributeName")
	if err != nil {
		return nil, err
	}
	b, err := c.subOf("SetSubscriptionAttributes")
	if err != nil {
		return nil, err
	}
	t := c.s.topic(b.Topic)
	if t == nil {
		return nil, notFound("Topic")
	}
	value := c.p.Get("AttributeValue")
	if name == rawDelivery {
		value = strings.ToLower(value)
	}
	return nil, c.s.changeSub(c.ctx, b.ARN, func(next *Subscription) error {
		next.Attributes[name] = value
		if err := checkSubAttribute(t, next, name, ""); err != nil {
			return err
		}
		if value == "" {
			delete(next.Attributes, name)
		}
		return nil
	})
}

func confirmURL(base, topicARN, token string) string {
	return base + Path + "?Action=ConfirmSubscription&TopicArn=" + topicARN + "&Token=" + token
}

func unsubscribeURL(base, subscription string) string {
	return base + Path + "?Action=Unsubscribe&SubscriptionArn=" + subscription
}
