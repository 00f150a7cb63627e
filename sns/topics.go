package sns

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"thaw/iam"
)

// Names of attributes that this server does something with.
const (
	policyAttribute  = "Policy"
	deliveryPolicy   = "DeliveryPolicy"
	fifoAttribute    = "FifoTopic"
	contentDedup     = "ContentBasedDeduplication"
	signatureVersion = "SignatureVersion"
	displayName      = "DisplayName"
	filterPolicy     = "FilterPolicy"
	filterScope      = "FilterPolicyScope"
	rawDelivery      = "RawMessageDelivery"
	redrivePolicy    = "RedrivePolicy"
)

var (
	topicRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	fifoRE  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,251}\.fifo$`)
	// feedbackRE are attributes about AWS's own log of deliveries: kept, and nothing more.
	feedbackRE = regexp.MustCompile(`^(HTTP|Application|Lambda|Firehose|SQS)(SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)$`)
)

// checkTopicAttribute says what is wrong with an attribute. why begins what is said.
func checkTopicAttribute(name, value string, fifo bool, why string) error {
	bad := func(format string, v ...any) error { return invalid("%s%s", why, fmt.Sprintf(format, v...)) }
	oneOf := func(values ...string) error {
		if value != "" && !slices.Contains(values, value) {
			return bad("%s: Invalid value [%s]. Must be one of %s.", name, value, strings.Join(values, ", "))
		}
		return nil
	}
	switch {
	case name == displayName && len(value) > 100:
		return bad("DisplayName")
	case name == policyAttribute && value != "":
		if _, err := iam.Parse([]byte(value), iam.Resource); err != nil {
			return bad("Policy Error: %v", err)
		}
	case name == deliveryPolicy:
		if _, err := policyOf(value, ""); err != nil {
			return bad("%v", err)
		}
	case name == signatureVersion:
		return oneOf("1", "2")
	case name == "TracingConfig":
		return oneOf("PassThrough", "Active")
	case name == contentDedup:
		if !fifo {
			return bad("AttributeName")
		}
		return oneOf("true", "false")
	case name == "FifoThroughputScope":
		return oneOf("Topic", "MessageGroup")
	case name == "ArchivePolicy" && value != "" && value != "{}":
		return unsupported("This server keeps no archive of a topic's messages: leave ArchivePolicy away.")
	case name == displayName, name == policyAttribute, name == "KmsMasterKeyId", name == "ArchivePolicy", feedbackRE.MatchString(name):
	default:
		return bad("AttributeName")
	}
	return nil
}

func (s *Server) topicARN(region, name string) string {
	return "arn:aws:sns:" + region + ":" + s.o.AccountID + ":" + name
}

// topicOf is the topic that a parameter names, when the sender may do this with it.
func (c *call) topicOf(parameter, action string) (*topic, error) {
	arn := c.p.Get(parameter)
	a, ok := splitARN(arn)
	if !ok {
		return nil, invalid("%s Reason: An ARN must have at least 6 elements, not %d", parameter, len(strings.Split(arn, ":")))
	}
	if a.service != "sns" || a.region != c.region {
		return nil, invalid("%s", parameter)
	}
	t := c.s.topic(arn)
	var policy string
	if t != nil {
		policy = t.policy()
	}
	if err := c.may(action, arn, policy); err != nil {
		return nil, err
	}
	if t == nil {
		return nil, notFound("Topic")
	}
	return t, nil
}

type topicResult struct {
	TopicArn string
}

func createTopic(c *call) (any, error) {
	name, err := c.p.must("Name")
	if err != nil {
		return nil, err
	}
	arn, given := c.s.topicARN(c.region, name), c.p.table("Attributes")
	if err := c.may("CreateTopic", arn, ""); err != nil {
		return nil, err
	}
	fifo := given[fifoAttribute] == "true"
	switch {
	case fifo && !fifoRE.MatchString(name):
		return nil, invalid("Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long.")
	case !fifo && !topicRE.MatchString(name):
		return nil, invalid("Topic Name")
	case c.p.Get("DataProtectionPolicy") != "":
		return nil, unsupported("This server has no data protection policies: leave DataProtectionPolicy away.")
	}
	tags, err := c.p.tags("Tags")
	if err != nil {
		return nil, err
	}
	if len(tags) > maxTags {
		return nil, tooManyTags()
	}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		if k == fifoAttribute && (given[k] == "true" || given[k] == "false") {
			continue
		}
		if err := checkTopicAttribute(k, given[k], fifo, "Attributes Reason: "); err != nil {
			return nil, err
		}
	}
	err = c.s.records.Change(c.ctx, "t/"+arn, func(old *Record) (*Record, error) {
		if old != nil {
			return old, sameTopic(old.Topic, given, tags)
		}
		delete(given, "")
		if !fifo {
			delete(given, fifoAttribute)
		}
		return &Record{Topic: &Topic{ARN: arn, Owner: c.s.o.AccountID, Created: c.s.o.Now().UTC(), Attributes: given, Tags: tags}}, nil
	})
	if err == nil {
		c.s.show(arn)
	}
	return topicResult{arn}, err
}

// sameTopic lets a topic be made again that is there as it is asked for.
func sameTopic(old *Topic, attributes map[string]string, tags []Tag) error {
	for name, value := range attributes {
		if name == fifoAttribute && value == "false" && !old.FIFO() {
			continue
		}
		if old.Attributes[name] != value {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	for _, t := range tags {
		if !slices.Contains(old.Tags, t) {
			return invalid("Tags Reason: Topic already exists with different tags")
		}
	}
	return nil
}

func deleteTopic(c *call) (any, error) {
	t, err := c.topicOf("TopicArn", "DeleteTopic")
	if f := (*failure)(nil); asFailure(err, &f) && f.code == "NotFound" {
		return nil, nil // documented: it is no error
	}
	if err != nil {
		return nil, err
	}
	for _, b := range t.subs {
		if err := c.s.removeSub(c.ctx, b.ARN); err != nil {
			return nil, err
		}
	}
	if err := c.s.records.Delete(c.ctx, "t/"+t.ARN); err != nil && !isNone(err) {
		return nil, err
	}
	c.s.show(t.ARN)
	return nil, nil
}

// pageSize is how many a list has. Source: API Reference, ListTopics: "up to 100".
const pageSize = 100

// page is a part of a list that is sorted by its keys, behind the one that a token names.
func page[T any](all []T, key func(T) string, token string) (list []T, next string, err error) {
	if token != "" {
		after, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", invalid("NextToken Reason: it is none of this server's")
		}
		all = all[firstAfter(all, key, string(after)):]
	}
	if len(all) > pageSize {
		all = all[:pageSize]
		next = base64.RawURLEncoding.EncodeToString([]byte(key(all[pageSize-1])))
	}
	return all, next, nil
}

func firstAfter[T any](all []T, key func(T) string, after string) int {
	i := slices.IndexFunc(all, func(v T) bool { return key(v) > after })
	if i < 0 {
		return len(all)
	}
	return i
}

func listTopics(c *call) (any, error) {
	if err := c.may("ListTopics", "*", ""); err != nil {
		return nil, err
	}
	prefix := c.s.topicARN(c.region, "")
	c.s.mu.RLock()
	var all []string
	for arn := range c.s.topics {
		if strings.HasPrefix(arn, prefix) {
			all = append(all, arn)
		}
	}
	c.s.mu.RUnlock()
	slices.Sort(all)
	all, next, err := page(all, func(s string) string { return s }, c.p.Get("NextToken"))
	out := struct {
		Topics struct {
			Member []topicResult `xml:"member"`
		}
		NextToken string `xml:",omitempty"`
	}{NextToken: next}
	for _, arn := range all {
		out.Topics.Member = append(out.Topics.Member, topicResult{arn})
	}
	return out, err
}

// ownerActions are what the policy that AWS gives a topic lets its owner do.
var ownerActions = []string{"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic", "SNS:Subscribe",
	"SNS:ListSubscriptionsByTopic", "SNS:Publish"}

type statement struct {
	Sid       string
	Effect    string
	Principal map[string]any
	Action    any
	Resource  any
	Condition map[string]map[string]any `json:",omitempty"`
}

type document struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement []statement
}

// policy is the one that was set, or AWS's own.
func (t *Topic) policy() string {
	if p := t.Attributes[policyAttribute]; p != "" {
		return p
	}
	b, err := json.Marshal(document{"2008-10-17", "__default_policy_ID", []statement{{"__default_statement_ID", "Allow", map[string]any{"AWS": "*"}, ownerActions, t.ARN,
		map[string]map[string]any{"StringEquals": {"AWS:SourceOwner": t.Owner}}}}})
	if err != nil {
		return ""
	}
	return string(b)
}

type attributesResult struct{ Attributes attributeMap }

func getTopicAttributes(c *call) (any, error) {
	t, err := c.topicOf("TopicArn", "GetTopicAttributes")
	if err != nil {
		return nil, err
	}
	all := attributeMap{displayName: "", "TopicArn": t.ARN, "Owner": t.Owner, policyAttribute: t.policy(), "SubscriptionsDeleted": strconv.Itoa(t.Deleted)}
	if t.FIFO() {
		all[contentDedup] = "false"
	}
	for name, value := range t.Attributes {
		if value != "" || name == displayName {
			all[name] = value
		}
	}
	pending, confirmed := 0, 0
	for _, b := range t.subs {
		switch {
		case b.Ended:
		case b.Pending:
			pending++
		default:
			confirmed++
		}
	}
	all["SubscriptionsPending"], all["SubscriptionsConfirmed"] = strconv.Itoa(pending), strconv.Itoa(confirmed)
	p, err := policyOf(t.Attributes[deliveryPolicy], "")
	if err != nil {
		return nil, err
	}
	all["EffectiveDeliveryPolicy"] = p.effective(true)
	return attributesResult{all}, nil
}

func setTopicAttributes(c *call) (any, error) {
	name, err := c.p.must("AttributeName")
	if err != nil {
		return nil, err
	}
	t, err := c.topicOf("TopicArn", "SetTopicAttributes")
	if err != nil {
		return nil, err
	}
	value := c.p.Get("AttributeValue")
	if err := checkTopicAttribute(name, value, t.FIFO(), ""); err != nil {
		return nil, err
	}
	return nil, c.s.changeTopic(c.ctx, t.ARN, func(t *Topic) error {
		t.Attributes[name] = value
		if value == "" {
			delete(t.Attributes, name)
		}
		return nil
	})
}

// getDataProtection answers what a topic without a policy answers; Terraform asks.
func getDataProtection(c *call) (any, error) {
	_, err := c.topicOf("ResourceArn", "GetDataProtectionPolicy")
	return struct{ DataProtectionPolicy string }{}, err
}

func putDataProtection(c *call) (any, error) {
	if _, err := c.topicOf("ResourceArn", "PutDataProtectionPolicy"); err != nil || c.p.Get("DataProtectionPolicy") == "" {
		return nil, err
	}
	return nil, unsupported("This server has no data protection policies.")
}
