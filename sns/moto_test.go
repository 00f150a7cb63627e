package sns

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

// toMoto leads requests for Amazon's hosts to moto, as a name server would.
type toMoto struct{ endpoint *url.URL }

func (m toMoto) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != "sns.us-east-1.amazonaws.com" {
		panic(r.URL.String())
	}
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, m.endpoint.Scheme, m.endpoint.Host
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0") // moto's server tells services by it
	return http.DefaultTransport.RoundTrip(r)
}

// S-104: messages that somebody else's SNS has signed are good: moto signs version 2, each message with a certificate of its
// own at the place where Amazon's are. It asks for no confirmation, and leaves a Subject out of the signature, which is
// wrong and refused.
func TestMotoSends(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(eventsourcetest.Moto(t))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.server.door.certs.client.Transport = toMoto{at}
	c := awssns.New(awssns.Options{Region: "us-east-1", BaseEndpoint: aws.String(at.String()), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	topic, err := c.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	url, err := b.server.Subscribe(t.Context(), Subscriber{Name: "orders", Function: worker, Topic: *topic.TopicArn}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: &url}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []awssns.PublishInput{{Message: aws.String("one & <two>")}, {Message: aws.String("refused"), Subject: aws.String("s")}, {Message: aws.String("ü\n3"),
		MessageAttributes: map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("v")}}}} {
		m.TopicArn = topic.TopicArn
		if _, err := c.Publish(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "two events", func() bool { return len(b.to.taken()) == 2 })
	for i, want := range []string{`"Message":"one & <two>"`, `"Message":"ü\n3"`} {
		if p := string(b.to.taken()[i].Payload); !strings.Contains(p, want) || !strings.Contains(p, `"SignatureVersion":"2"`) {
			t.Error(p)
		}
	}
	if n := b.server.CountOf("orders"); n.Events != 2 || !strings.Contains(n.Trouble, "the signature is not that of this message") {
		t.Errorf("%+v", n)
	}
}
