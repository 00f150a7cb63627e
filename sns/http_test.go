package sns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"thaw/trigger"
)

// endpoint is somebody who gets messages by HTTP.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer func(n int) int // of request n; nil: 200
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.got, e.bodies = append(e.got, r), append(e.bodies, string(b))
		if e.answer != nil {
			w.WriteHeader(e.answer(len(e.got)))
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// wait returns request n, from 1 on.
func (e *endpoint) wait(t *testing.T, n int) (*http.Request, string) {
	t.Helper()
	until(t, fmt.Sprint("request ", n), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.got) >= n
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got[n-1], e.bodies[n-1]
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url) //nolint:gosec,noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// S-103: an HTTP endpoint confirms by the link in the message, gets notifications with SigningCertURL, and ends by a link;
// another link brings the subscription back.
func TestHTTPSubscription(t *testing.T) {
	t.Parallel()
	b, e := newBench(t), newEndpoint(t)
	topic := b.topic("orders", nil)
	out, err := b.client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("http"), Endpoint: aws.String(e.URL + "/in?x=1")})
	if err != nil || *out.SubscriptionArn != "pending confirmation" {
		t.Fatal(out, err)
	}
	b.publish(topic, "before") // goes to nobody
	r, body := e.wait(t, 1)
	m, err := trigger.ParseSNS([]byte(body))
	if err != nil || r.Header.Get("x-amz-sns-message-type") != "SubscriptionConfirmation" || r.Header.Get("x-amz-sns-topic-arn") != topic || r.URL.RawQuery != "x=1" {
		t.Fatalf("%v %v %s", err, r.Header, body)
	}
	if status, text := get(t, m.SubscribeURL+"x"); status != 400 || !strings.Contains(text, "Invalid parameter: Token") {
		t.Errorf("%d %s", status, text)
	}
	status, text := get(t, m.SubscribeURL)
	_, sub, _ := strings.Cut(text, "<SubscriptionArn>")
	sub, _, _ = strings.Cut(sub, "<")
	if status != 200 || !strings.HasPrefix(sub, topic+":") {
		t.Fatalf("%d %s", status, text)
	}
	b.publish(topic, "hello & <b>")
	r, body = e.wait(t, 2)
	if m, err = trigger.ParseSNS([]byte(body)); err != nil || m.Message != "hello & <b>" || r.Header.Get("x-amz-sns-subscription-arn") != sub || r.Header.Get("Content-Type") != plainText || r.UserAgent() != agent ||
		r.Header.Get("x-amz-sns-message-id") != m.MessageID || strings.Contains(body, "Subject") || !strings.Contains(body, `"SigningCertURL"`) {
		t.Fatalf("%v %v %s", err, r.Header, body)
	}
	if status, text := get(t, m.UnsubscribeURL); status != 200 || !strings.Contains(text, "UnsubscribeResponse") {
		t.Errorf("%d %s", status, text)
	}
	r, body = e.wait(t, 3)
	if m, err = trigger.ParseSNS([]byte(body)); err != nil || m.Type != trigger.SNSUnsubscribeConfirmation {
		t.Fatalf("%v %v %s", err, r.Header, body)
	}
	b.publish(topic, "to nobody")
	if list, err := b.client.ListSubscriptionsByTopic(t.Context(), &awssns.ListSubscriptionsByTopicInput{TopicArn: &topic}); err != nil || len(list.Subscriptions) > 0 {
		t.Errorf("%v %v", list, err)
	}
	if status, _ := get(t, m.SubscribeURL); status != 200 {
		t.Errorf("restored: %d", status)
	}
	if _, err := b.client.SetSubscriptionAttributes(t.Context(), &awssns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: aws.String(rawDelivery), AttributeValue: aws.String("true")}); err != nil {
		t.Fatal(err)
	}
	b.publish(topic, "raw")
	if r, body = e.wait(t, 4); body != "raw" || r.Header.Get("x-amz-sns-rawdelivery") != "true" {
		t.Errorf("%v %s", r.Header, body)
	}
	if status, _ := get(t, b.http.URL+"/sns/?Action=Publish&TopicArn="+topic+"&Message=m"); status != 403 {
		t.Errorf("published without a signature: %d", status)
	}
}

// What an endpoint answers says whether it is tried again; what is given up goes to the dead-letter queue.
func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	b, e := newBench(t), newEndpoint(t)
	topic := b.topic("orders", nil)
	sub := b.subscribe(topic, "http", e.URL, map[string]string{redrivePolicy: `{"deadLetterTargetArn":"` + queueARN("dead") + `"}`,
		deliveryPolicy: `{"healthyRetryPolicy":{"numRetries":2,"numNoDelayRetries":2},"requestPolicy":{"headerContentType":"application/json"}}`})
	_, body := e.wait(t, 1)
	m, err := trigger.ParseSNS([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	get(t, m.SubscribeURL)
	for i, c := range []struct {
		statuses []int
		dead     bool
	}{{[]int{500, 200}, false}, {[]int{429, 503, 204}, false}, {[]int{404}, true}, {[]int{301}, true}, {[]int{500, 500, 500}, true}} {
		e.mu.Lock()
		before, dead := len(e.got), len(b.to.sent())
		e.answer = func(n int) int { return c.statuses[min(n-before, len(c.statuses))-1] }
		e.mu.Unlock()
		b.publish(topic, fmt.Sprint("m", i))
		r, _ := e.wait(t, before+len(c.statuses))
		if r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", r.Header)
		}
		if c.dead {
			until(t, fmt.Sprint("the dead letter of ", c.statuses), func() bool { return len(b.to.sent()) == dead+1 })
		}
		until(t, "an empty mailbox", func() bool { return b.box.len() == 0 })
		if e.mu.Lock(); len(e.got) != before+len(c.statuses) || len(b.to.sent()) != dead+map[bool]int{true: 1}[c.dead] {
			t.Errorf("%v: %d requests, %d dead letters", c.statuses, len(e.got)-before, len(b.to.sent())-dead)
		}
		e.mu.Unlock()
	}
	if b.subscribe(topic, "http", e.URL, nil) != sub {
		t.Error("subscribed again it is another one")
	}
}

// Subscriptions lead to no address of this host, whatever name leads there.
func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address         string
		local, anywhere bool
		ok              bool
	}{
		{"127.0.0.1", false, false, false}, {"127.8.8.8", false, false, false}, {"::1", false, false, false}, {"::ffff:127.0.0.1", false, false, false},
		{"127.0.0.1", true, false, true}, {"169.254.169.254", false, false, false}, {"169.254.169.254", true, false, false}, {"169.254.169.254", true, true, true},
		{"fe80::1", true, false, false}, {"0.0.0.0", true, false, false}, {"10.0.0.1", false, false, true}, {"93.184.216.34", false, false, true}, {"ff02::1", false, false, false},
		{"fd00:ec2::254", true, false, false}, {"64:ff9b::a9fe:a9fe", true, false, false}, {"64:ff9b::7f00:1", false, false, false},
	} {
		if err := forbidden(netip.MustParseAddr(c.address), c.local, c.anywhere); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	e := newEndpoint(t)
	at, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{e.URL, "http://localhost:" + at.Port()} {
		if _, err := newClient(false, false).Get(u); err == nil || !strings.Contains(err.Error(), "--sns-local-endpoints") { //nolint:bodyclose,noctx // there is none
			t.Errorf("%s: %v", u, err)
		}
	}
	if len(e.got) > 0 {
		t.Error("a request came through")
	}
}

// subscribeTo makes a topic of one server send to a function of another, and returns that one and the topic.
func subscribeTo(t *testing.T, x Subscriber, secret string) (from, to *bench, topic, at string) {
	t.Helper()
	from, to = newBench(t), newBench(t)
	topic = from.topic("orders", nil)
	if err := from.server.signer.load(); err != nil {
		t.Fatal(err)
	}
	x.Name, x.Function, x.Topic, x.Endpoint, x.CA = "orders", worker, topic, from.http.URL, string(from.server.signer.pem)
	at, err := to.server.Subscribe(t.Context(), x, secret)
	if err != nil {
		t.Fatal(err)
	}
	return from, to, topic, at
}

// S-103, S-104: a topic of one server sends to a function of another over HTTP: confirmed by itself, signatures of both
// versions verified, each message once, filtered, and gone on after a restart.
func TestTopicElsewhere(t *testing.T) {
	t.Parallel()
	from, to, topic, at := subscribeTo(t, Subscriber{FilterPolicy: `{"kind":[{"anything-but":"noise"}]}`}, "")
	sub := from.subscribe(topic, "http", at, nil)
	until(t, "the confirmation", func() bool { return !from.server.sub(sub).Pending })
	attribute := func(kind string) []string {
		return []string{"MessageAttributes.entry.1.Name", "kind", "MessageAttributes.entry.1.Value.DataType", "String", "MessageAttributes.entry.1.Value.StringValue", kind}
	}
	from.do("Publish", append([]string{"TopicArn", topic, "Message", "one"}, attribute("order")...)...)
	from.do("Publish", append([]string{"TopicArn", topic, "Message", "dropped"}, attribute("noise")...)...)
	until(t, "the first event", func() bool { return len(to.to.taken()) == 1 && from.box.len() == 0 })
	from.do("SetTopicAttributes", "TopicArn", topic, "AttributeName", signatureVersion, "AttributeValue", "2")
	to.again()
	from.do("Publish", append([]string{"TopicArn", topic, "Message", "two", "Subject", "s"}, attribute("order")...)...)
	until(t, "the second event", func() bool { return len(to.to.taken()) == 2 && from.box.len() == 0 })
	for i, e := range to.to.taken() {
		var event struct {
			Records []struct {
				EventSubscriptionArn string
				Sns                  map[string]any
			}
		}
		if err := json.Unmarshal(e.Payload, &event); err != nil {
			t.Fatal(err)
		}
		s := event.Records[0].Sns
		if s["Message"] != []string{"one", "two"}[i] || s["SignatureVersion"] != []string{"1", "2"}[i] || event.Records[0].EventSubscriptionArn != sub ||
			s["SigningCertUrl"] == "" || s["UnsubscribeUrl"] == "" || s["SigningCertURL"] != nil || s["Subject"] != []any{nil, "s"}[i] {
			t.Errorf("%s", e.Payload)
		}
	}
}

// S-104: tampered, replayed, old and other senders' messages are refused; what was taken already is not taken twice.
func TestForgedMessages(t *testing.T) {
	t.Parallel()
	from, to, topic, at := subscribeTo(t, Subscriber{}, "")
	other := newBench(t)
	make := func(change func(m *trigger.SNSMessage), after func(m *trigger.SNSMessage)) []byte {
		msg := &Message{Type: trigger.SNSNotification, ID: fmt.Sprint(time.Now().UnixNano()), Topic: topic, Text: "m", At: time.Now(), SignatureVersion: "2"}
		n := msg.notification(&Subscription{ARN: topic + ":1", Protocol: toHTTP}, from.http.URL)
		if change != nil {
			change(n)
		}
		if err := from.server.signer.sign(n, from.http.URL); err != nil {
			t.Fatal(err)
		}
		if after != nil {
			after(n)
		}
		body, err := n.Body()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	send := func(path string, body []byte, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	subject := "s"
	for _, c := range []struct {
		what   string
		body   []byte
		status int
		want   string
	}{
		{"another message", make(nil, func(m *trigger.SNSMessage) { m.Message = "n" }), 403, "the signature is not that of this message"},
		{"a subject more", make(nil, func(m *trigger.SNSMessage) { m.Subject = &subject }), 403, "the signature is not that of this message"},
		{"the other version", make(nil, func(m *trigger.SNSMessage) { m.SignatureVersion = "1" }), 403, "the signature is not that of this message"},
		{"a version that is none", make(nil, func(m *trigger.SNSMessage) { m.SignatureVersion = "3" }), 403, "this server knows 1 and 2"},
		{"no signature", make(nil, func(m *trigger.SNSMessage) { m.Signature = "" }), 403, "the signature is not that of this message"},
		{"another topic", make(func(m *trigger.SNSMessage) { m.TopicARN += "2" }, nil), 403, "it is of the topic"},
		{"an hour and a half old", make(func(m *trigger.SNSMessage) { m.Timestamp = trigger.SNSTime(time.Now().Add(-90 * time.Minute)) }, nil), 403, "is too far from the time of this server"},
		{"of tomorrow", make(func(m *trigger.SNSMessage) { m.Timestamp = trigger.SNSTime(time.Now().Add(24 * time.Hour)) }, nil), 403, "is too far from the time of this server"},
		{"a certificate elsewhere", make(nil, func(m *trigger.SNSMessage) {
			m.SigningCertURL = strings.Replace(m.SigningCertURL, "http://", "http://evil@", 1)
		}), 403, "SigningCertURL"},
		{"a certificate of another", make(nil, func(m *trigger.SNSMessage) { m.SigningCertURL = other.http.URL + "/sns/x.pem" }), 403, "and the sender is"},
		{"a certificate that is none", make(nil, func(m *trigger.SNSMessage) { m.SigningCertURL = from.http.URL + "/sns/?Action=x&y=.pem" }), 403, "is not the place of one"},
		{"a link elsewhere", make(func(m *trigger.SNSMessage) {
			m.Type, m.Token, m.SubscribeURL = trigger.SNSSubscriptionConfirmation, "t", other.http.URL+"/sns/?Action=ConfirmSubscription&TopicArn="+topic
		}, nil), 403, "SubscribeURL is at"},
		{"a link for something else", make(func(m *trigger.SNSMessage) {
			m.Type, m.Token, m.SubscribeURL = trigger.SNSSubscriptionConfirmation, "t", from.http.URL+"/sns/?Action=Unsubscribe&TopicArn="+topic
		}, nil), 403, "confirms something else"},
		{"no JSON", []byte("x"), 400, "is not a message of SNS"},
		{"2 MiB and some", bytes.Repeat([]byte("x"), 2<<20+1000), 413, "too large"},
	} {
		if status, text := send(at, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d %q", c.what, status, text, c.status, c.want)
		}
	}
	if status, text := send(at+"2", make(nil, nil)); status != 404 || !strings.Contains(text, "thaw trigger ls") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := send(at, []byte("m"), "x-amz-sns-rawdelivery", "true", "x-amz-sns-topic-arn", topic, "x-amz-sns-message-id", "1"); status != 403 || !strings.Contains(text, "nobody signs raw deliveries") {
		t.Errorf("%d %s", status, text)
	}
	if len(to.to.taken()) > 0 {
		t.Fatalf("%d were taken", len(to.to.taken()))
	}
	good := make(nil, nil)
	for range 3 {
		if status, text := send(at, good); status != 200 {
			t.Errorf("%d %s", status, text)
		}
	}
	if len(to.to.taken()) != 1 {
		t.Errorf("taken %d times", len(to.to.taken()))
	}
}

// Raw deliveries need the secret in the URL.
func TestRawDeliveryElsewhere(t *testing.T) {
	t.Parallel()
	from, to, topic, at := subscribeTo(t, Subscriber{}, "s3cret")
	if !strings.HasSuffix(at, "/sns/orders/s3cret") || strings.Contains(fmt.Sprint(to.server.Subscribers()), "s3cret") {
		t.Fatal(at, to.server.Subscribers())
	}
	sub := from.subscribe(topic, "http", at, map[string]string{rawDelivery: "true"})
	until(t, "the confirmation", func() bool { return !from.server.sub(sub).Pending })
	from.publish(topic, "raw")
	until(t, "the event", func() bool { return len(to.to.taken()) == 1 })
	if p := string(to.to.taken()[0].Payload); !strings.Contains(p, `"Message":"raw"`) {
		t.Error(p)
	}
	res, err := http.Post(strings.TrimSuffix(at, "t")+"x", "text/plain", strings.NewReader("m")) //nolint:noctx // of this test
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("with a wrong secret: %d", res.StatusCode)
	}
	if err := to.server.Forget(t.Context(), "orders"); err != nil || len(to.server.Subscribers()) > 0 {
		t.Error(err)
	}
}

// What is wrong with a subscriber, in words.
func TestWrongSubscribers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := Subscriber{Name: "n", Function: worker, Topic: topicARN}
	for want, change := range map[string]func(x *Subscriber){
		"is not 1 to 64 letters":           func(x *Subscriber) { x.Name = "a/b" },
		"is not the ARN of a topic":        func(x *Subscriber) { x.Topic = "orders" },
		"is not the ARN of a function":     func(x *Subscriber) { x.Function = "worker" },
		"not found":                        func(x *Subscriber) { x.Function += "2" },
		"is not of the form https://":      func(x *Subscriber) { x.Endpoint = "sns.example.com" },
		"anybody on the way":               func(x *Subscriber) { x.Endpoint = "http://sns.example.com" },
		"holds no certificate":             func(x *Subscriber) { x.CA = "x" },
		"Unrecognized match type wildcard": func(x *Subscriber) { x.FilterPolicy = `{"a":[{"wildcard":"*"}]}` },
	} {
		x := good
		change(&x)
		if _, err := b.server.Subscribe(t.Context(), x, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := b.server.Subscribe(t.Context(), good, "a/b"); err == nil || !strings.Contains(err.Error(), "a secret is of letters") {
		t.Error(err)
	}
	if (&Subscriber{Topic: "arn:aws-cn:sns:cn-north-1:1:t"}).base() != "https://sns.cn-north-1.amazonaws.com.cn" {
		t.Error("China")
	}
}

// A subscription that nobody has confirmed within two days is none any more.
func TestOldTokens(t *testing.T) {
	t.Parallel()
	b, e := newBench(t), newEndpoint(t)
	var ahead atomic.Int64
	b.o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	b.again()
	topic := b.topic("orders", nil)
	sub := b.subscribe(topic, "http", e.URL, nil)
	_, body := e.wait(t, 1)
	m, err := trigger.ParseSNS([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(49 * time.Hour))
	if status, text := get(t, m.SubscribeURL); status != 400 || !strings.Contains(text, "Token") {
		t.Errorf("%d %s", status, text)
	}
	if again := b.subscribe(topic, "http", e.URL, nil); again == sub {
		t.Error("it is the old one")
	}
	if list, err := b.client.ListSubscriptionsByTopic(t.Context(), &awssns.ListSubscriptionsByTopicInput{TopicArn: &topic}); err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].SubscriptionArn != "PendingConfirmation" {
		t.Errorf("%v %v", list, err)
	}
}

// Why an endpoint cannot be reached is told without its URL, which may have a secret in it.
func TestNoURLInErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, err := policyOf("", "")
	if err != nil {
		t.Fatal(err)
	}
	topic := b.topic("orders", nil)
	m := &Message{Type: trigger.SNSNotification, ID: "1", Topic: topic, Text: "m", SignatureVersion: "1"}
	err = b.server.toEndpoint(t.Context(), m, &Subscription{ARN: topic + ":s", Topic: topic, Protocol: "http", Endpoint: "http://127.0.0.1:1/path-secret?query-secret"}, p)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
