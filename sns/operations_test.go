package sns

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"thaw/access"
	"thaw/iam"
	"thaw/push"
)

// What AWS's own client is told when something is wrong. The words are the service's where they were recorded.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, c := t.Context(), b.client
	topic, fifo := b.topic("orders", nil), b.topic("orders.fifo", map[string]string{"FifoTopic": "true"})
	sub := b.subscribe(topic, "sqs", queueARN("q"), map[string]string{filterPolicy: `{"a":["x"]}`})
	create := func(name string, attributes map[string]string, tags ...types.Tag) error {
		_, err := c.CreateTopic(ctx, &awssns.CreateTopicInput{Name: &name, Attributes: attributes, Tags: tags})
		return err
	}
	subscribe := func(topic, protocol, endpoint string, attributes map[string]string) error {
		_, err := c.Subscribe(ctx, &awssns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attributes})
		return err
	}
	set := func(name, value string) error {
		_, err := c.SetSubscriptionAttributes(ctx, &awssns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: &name, AttributeValue: &value})
		return err
	}
	publish := func(in awssns.PublishInput) error {
		if in.TopicArn == nil {
			in.TopicArn = &topic
		}
		if in.Message == nil {
			in.Message = aws.String("m")
		}
		_, err := c.Publish(ctx, &in)
		return err
	}
	attribute := func(name, typ, value string) error {
		return publish(awssns.PublishInput{MessageAttributes: map[string]types.MessageAttributeValue{name: {DataType: &typ, StringValue: &value}}})
	}
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	for _, x := range []struct {
		what string
		err  error
		want string
	}{
		{"a bad name", create("a b", nil), "InvalidParameter: Invalid parameter: Topic Name"},
		{"a FIFO name without the attribute", create("a.fifo", nil), "Topic Name"},
		{"a FIFO topic without the name", create("a", map[string]string{"FifoTopic": "true"}), "Fifo Topic names must end with .fifo"},
		{"an unknown attribute", create("a", map[string]string{"X": "1"}), "Attributes Reason: AttributeName"},
		{"other attributes", create("orders", map[string]string{"DisplayName": "x"}), "Topic already exists with different attributes"},
		{"other tags", create("orders", nil, tag("k", "v")), "Invalid parameter: Tags Reason: Topic already exists with different tags"},
		{"a tag twice", create("b", nil, tag("k", "v"), tag("k", "w")), "Duplicated keys are not allowed."},
		{"an archive", create("c", map[string]string{"ArchivePolicy": `{"MessageRetentionPeriod":"30"}`}), "keeps no archive"},
		{"no topic", publish(awssns.PublishInput{TopicArn: aws.String(topic + "2")}), "NotFound: Topic does not exist"},
		{"no ARN", publish(awssns.PublishInput{TopicArn: aws.String("orders")}), "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
		{"another region", publish(awssns.PublishInput{TopicArn: aws.String("arn:aws:sns:eu-west-2:000000000000:orders")}), "Invalid parameter: TopicArn"},
		{"an empty message", publish(awssns.PublishInput{Message: aws.String("")}), "Invalid parameter: Empty message"},
		{"256 KiB and a byte", publish(awssns.PublishInput{Message: aws.String(strings.Repeat("x", 256<<10+1))}), "Invalid parameter: Message too long"},
		{"a subject of two lines", publish(awssns.PublishInput{Subject: aws.String("a\nb")}), "Invalid parameter: Subject"},
		{"an empty subject", publish(awssns.PublishInput{Subject: aws.String("")}), "Invalid parameter: Subject"},
		{"a long subject", publish(awssns.PublishInput{Subject: aws.String(strings.Repeat("s", 101))}), "Invalid parameter: Subject"},
		{"a structure that is no JSON", publish(awssns.PublishInput{MessageStructure: aws.String("json")}), "Message Structure - JSON message body failed to parse"},
		{"a structure without default", publish(awssns.PublishInput{MessageStructure: aws.String("json"), Message: aws.String(`{"sqs":"a"}`)}), "Message Structure - No default entry in JSON message body"},
		{"a phone", publish(awssns.PublishInput{PhoneNumber: aws.String("+4930123456")}), "not to phones"},
		{"a group ID of FIFO", publish(awssns.PublishInput{MessageDeduplicationId: aws.String("x")}), "MessageDeduplicationId Reason"},
		{"FIFO without a group", publish(awssns.PublishInput{TopicArn: &fifo}), "The MessageGroupId parameter is required for FIFO topics"},
		{"FIFO without an ID", publish(awssns.PublishInput{TopicArn: &fifo, MessageGroupId: aws.String("g")}), "ContentBasedDeduplication enabled or MessageDeduplicationId provided"},
		{"an attribute's name", attribute(".a", "String", "x"), "ParameterValueInvalid: Invalid message attribute name starting with character '.' was found."},
		{"an attribute's character", attribute("a:b", "String", "x"), "Invalid non-alphanumeric character '#x3A' was found"},
		{"an attribute's type", attribute("a", "Text", "x"), "invalid message attribute type"},
		{"an attribute's field", attribute("a", "Binary", "x"), "must use field 'Binary'"},
		{"a number that is none", attribute("a", "Number", "x"), "Could not cast message attribute 'a' value to number."},
		{"e-mail", subscribe(topic, "email", "a@example.com", nil), "the protocol email is not here"},
		{"an unknown protocol", subscribe(topic, "pigeon", "x", nil), "does not support this protocol string: pigeon"},
		{"another scheme", subscribe(topic, "https", "http://example.com", nil), "Endpoint must match the specified protocol"},
		{"no queue", subscribe(topic, "sqs", "queue", nil), "SQS endpoint ARN"},
		{"no function", subscribe(topic, "lambda", "worker", nil), "Lambda endpoint ARN"},
		{"a FIFO queue at a standard topic", subscribe(topic, "sqs", queueARN("q.fifo"), nil), "FIFO SQS Queues can not be subscribed to standard SNS topics"},
		{"a function at a FIFO topic", subscribe(fifo, "lambda", worker, nil), "Please use FIFO SQS queue"},
		{"other attributes of a subscription", subscribe(topic, "sqs", queueARN("q"), map[string]string{rawDelivery: "true"}), "Subscription already exists with different attributes"},
		{"raw to a function", subscribe(topic, "lambda", worker, map[string]string{rawDelivery: "true"}), "does not support raw message delivery"},
		{"a scope", set(filterScope, "Both"), "FilterPolicyScope: Invalid value [Both]. Please use either MessageBody or MessageAttributes"},
		{"a policy that is no JSON", set(filterPolicy, `{`), "FilterPolicy: failed to parse JSON"},
		{"a nested policy", set(filterPolicy, `{"a":{"b":["c"]}}`), "does not support nested filter policy"},
		{"raw", set(rawDelivery, "yes"), "RawMessageDelivery: Invalid value [yes]. Must be true or false."},
		{"a dead-letter queue", set(redrivePolicy, `{"deadLetterTargetArn":"q"}`), "RedrivePolicy: deadLetterTargetArn is an invalid arn"},
		{"an unknown attribute of a subscription", set("X", "1"), "Invalid parameter: AttributeName"},
		{"retries", func() error {
			_, err := c.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("DeliveryPolicy"), AttributeValue: aws.String(`{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":30}}}`)})
			return err
		}(), "minDelayTarget must be at least 1 and at most maxDelayTarget"},
		{"a policy", func() error {
			_, err := c.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: aws.String(`{}`)})
			return err
		}(), "Policy Error"},
		{"platforms", func() error {
			_, err := c.ListPlatformApplications(ctx, &awssns.ListPlatformApplicationsInput{})
			return err
		}(), "ListPlatformApplications is not here"},
		{"a token", func() error {
			_, err := c.ConfirmSubscription(ctx, &awssns.ConfirmSubscriptionInput{TopicArn: &topic, Token: aws.String("x")})
			return err
		}(), "Invalid parameter: Token"},
		{"no subscription", func() error {
			_, err := c.GetSubscriptionAttributes(ctx, &awssns.GetSubscriptionAttributesInput{SubscriptionArn: aws.String(topic + ":x")})
			return err
		}(), "NotFound: Subscription does not exist"},
	} {
		if x.err == nil || !strings.Contains(x.err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.what, x.err, x.want)
		}
	}
}

// The whole life of topics and subscriptions, over a restart.
func TestTopicsAndSubscriptions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, c := t.Context(), b.client
	for i := range 101 {
		b.topic(fmt.Sprintf("t%03d", i), nil)
	}
	topic := b.topic("t000", nil) // again: no error
	sub := b.subscribe(topic, "lambda", worker, nil)
	if again := b.subscribe(topic, "lambda", worker, nil); again != sub {
		t.Errorf("subscribed again it is %s", again)
	}
	for i := range 101 {
		b.subscribe(topic, "sqs", queueARN(fmt.Sprintf("q%d", i)), nil)
	}
	if _, err := c.TagResource(ctx, &awssns.TagResourceInput{ResourceArn: &topic, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}, {Key: aws.String("l"), Value: aws.String("")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UntagResource(ctx, &awssns.UntagResourceInput{ResourceArn: &topic, TagKeys: []string{"l"}}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"DisplayName": "Orders & <more>", "DeliveryPolicy": `{"http":{"defaultHealthyRetryPolicy":{"numRetries":5}}}`} {
		if _, err := c.SetTopicAttributes(ctx, &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: &name, AttributeValue: &value}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AddPermission(ctx, &awssns.AddPermissionInput{TopicArn: &topic, Label: aws.String("other"), AWSAccountId: []string{"222222222222"}, ActionName: []string{"Publish"}}); err != nil {
		t.Fatal(err)
	}
	b.again()
	topics, subs := 0, 0
	for p := awssns.NewListTopicsPaginator(c, &awssns.ListTopicsInput{}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		topics += len(out.Topics)
	}
	for p := awssns.NewListSubscriptionsByTopicPaginator(c, &awssns.ListSubscriptionsByTopicInput{TopicArn: &topic}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		subs += len(out.Subscriptions)
	}
	all, err := c.ListSubscriptions(ctx, &awssns.ListSubscriptionsInput{})
	if err != nil || topics != 101 || subs != 102 || len(all.Subscriptions) != 100 || all.NextToken == nil {
		t.Errorf("%d topics, %d subscriptions, %v", topics, subs, err)
	}
	tags, err := c.ListTagsForResource(ctx, &awssns.ListTagsForResourceInput{ResourceArn: &topic})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "v" {
		t.Errorf("tags %v %v", tags, err)
	}
	got, err := c.GetTopicAttributes(ctx, &awssns.GetTopicAttributesInput{TopicArn: &topic})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"DisplayName": "Orders & <more>", "SubscriptionsConfirmed": "102", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0", "Owner": account,
		"EffectiveDeliveryPolicy": `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":5,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`} {
		if got.Attributes[name] != want {
			t.Errorf("%s is %s", name, got.Attributes[name])
		}
	}
	var policy document
	if err := json.Unmarshal([]byte(got.Attributes["Policy"]), &policy); err != nil || len(policy.Statement) != 2 || policy.Statement[1].Sid != "other" || policy.ID != "__default_policy_ID" {
		t.Errorf("policy %+v, %v", policy, err)
	}
	of, err := c.GetSubscriptionAttributes(ctx, &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	if err != nil || of.Attributes["Endpoint"] != worker || of.Attributes["PendingConfirmation"] != "false" || of.Attributes["SubscriptionPrincipal"] != "arn:aws:iam::000000000000:root" {
		t.Errorf("%v %v", of, err)
	}
	if _, err := c.Unsubscribe(ctx, &awssns.UnsubscribeInput{SubscriptionArn: &sub}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.DeleteTopic(ctx, &awssns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Errorf("%v", err)
		}
	}
	if rest := len(b.docs.Keys()); rest != 100 {
		t.Errorf("%d records are left of 100 topics", rest)
	}
}

// A topic's policy and the sender's own decide together who may publish.
func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	topic := b.topic("orders", nil)
	if _, err := b.client.AddPermission(t.Context(), &awssns.AddPermissionInput{TopicArn: &topic, Label: aws.String("l"), AWSAccountId: []string{"222222222222"}, ActionName: []string{"Publish"}}); err != nil {
		t.Fatal(err)
	}
	user := func(account, action string) access.Caller {
		p, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"`+action+`","Resource":"*"}}`), iam.Identity)
		if err != nil {
			t.Fatal(err)
		}
		return access.Caller{Principal: iam.Principal{Kind: iam.User, Account: account, ARN: "arn:aws:iam::" + account + ":user/u", ID: "AIDAU", Name: "u"}, Identity: []*iam.Policy{p}}
	}
	for _, x := range []struct {
		what string
		who  access.Caller
		ok   bool
	}{
		{"a user whom its own policy lets", user(account, "sns:Publish"), true},
		{"a user with another action", user(account, "sns:Subscribe"), false},
		{"a user of the account in the topic's policy", user("222222222222", "sns:Publish"), true},
		{"a user of that account without a policy of its own", user("222222222222", "sqs:*"), false},
		{"a user of another account", user("333333333333", "sns:*"), false},
	} {
		b.who = x.who
		_, err := b.client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("m")})
		if (err == nil) != x.ok || err != nil && !strings.Contains(err.Error(), "AuthorizationError") {
			t.Errorf("%s: %v", x.what, err)
		}
	}
}

// A service publishes for what a topic's policy names, where signatures are verified; the refusal is what to type.
func TestServicesPublish(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	topic := b.topic("orders", nil)
	const rule = "arn:aws:events:eu-west-1:000000000000:rule/r"
	publish := func(source string) error {
		_, err := b.server.ToTopic(t.Context(), &push.TopicMessage{Topic: topic, Message: "m", Service: "events.amazonaws.com", Source: source})
		return err
	}
	if err := publish(rule); err != nil {
		t.Error(err)
	}
	b.enforced = true
	err := publish(rule)
	if !errors.As(err, new(*push.TopicNotAllowedError)) {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(err.Error(), "--attribute-value '")
	policy = strings.TrimSuffix(policy, "'")
	if _, err := b.client.SetTopicAttributes(t.Context(), &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: &policy}); err != nil {
		t.Fatal(err)
	}
	if err := publish(rule); err != nil {
		t.Error(err)
	}
	if err := publish(rule + "2"); err == nil {
		t.Error("another rule may publish")
	}
}
