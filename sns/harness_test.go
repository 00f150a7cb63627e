package sns

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"

	"thaw/access"
	"thaw/async"
	"thaw/function"
	"thaw/internal/wholebody"
	"thaw/invoke"
	"thaw/push"
	"thaw/push/pushtest"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
	worker  = "arn:aws:lambda:eu-west-1:000000000000:function:worker"
)

// memoryMailbox is a mailbox in memory.
type memoryMailbox struct {
	mu      sync.Mutex
	next    uint64
	letters map[uint64]push.Letter
	seen    map[string][]byte
	full    bool
}

func (o *memoryMailbox) Put(_ context.Context, bodies ...[]byte) (seqs []uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return nil, async.ErrFull
	}
	for _, b := range bodies {
		o.next++
		o.letters[o.next] = push.Letter{Seq: o.next, Body: b}
		seqs = append(seqs, o.next)
	}
	return seqs, nil
}

func (o *memoryMailbox) Note(_ context.Context, seq uint64, left []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[seq]
	if !ok {
		return errors.New("a note for a letter that is not there")
	}
	l.Left = left
	o.letters[seq] = l
	return nil
}

func (o *memoryMailbox) Get(_ context.Context, seq uint64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l, ok := o.letters[seq]
	if !ok {
		return nil, push.ErrNone
	}
	return l.Body, nil
}

func (o *memoryMailbox) Remove(_ context.Context, seq uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.letters, seq)
	return nil
}

func (o *memoryMailbox) Each(_ context.Context, f func(push.Letter) error) error {
	o.mu.Lock()
	all := maps.Clone(o.letters)
	o.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(all)) {
		if err := f(all[seq]); err != nil {
			return err
		}
	}
	return nil
}

func (o *memoryMailbox) See(_ context.Context, key string, value []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[key] = value
	return nil
}

func (o *memoryMailbox) Seen(_ context.Context, f func(string, []byte, time.Time)) error {
	for k, v := range o.seen {
		f(k, v, time.Now())
	}
	return nil
}

func (o *memoryMailbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.letters)
}

// sink takes what goes to functions and queues.
type sink struct {
	mu     sync.Mutex
	events []*async.Event
	queue  []*push.QueueMessage
	fail   func(m *push.QueueMessage) error // nil: none fails
	full   error
}

func (s *sink) Accept(_ context.Context, e *async.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	s.events = append(s.events, e)
	return nil
}

func (s *sink) ToQueue(_ context.Context, m *push.QueueMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(m); err != nil {
			return err
		}
	}
	s.queue = append(s.queue, m)
	return nil
}

func (s *sink) sent() []*push.QueueMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queue)
}

func (s *sink) taken() []*async.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// keys is a folder with a key that was made once, before a test's time is synctest's: to make one takes long.
var keys string

func TestMain(m *testing.M) {
	var err error
	if keys, err = os.MkdirTemp("", "sns-keys-"); err == nil {
		err = (&signer{dir: keys}).load()
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(keys)
	os.Exit(code)
}

// bench is a server of SNS without a node around it: functions and queues are sinks.
type bench struct {
	t        testing.TB
	o        Options
	docs     *pushtest.Documents
	box      *memoryMailbox
	to       *sink
	server   *Server
	who      access.Caller
	http     *httptest.Server
	client   *awssns.Client
	enforced bool
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return makeBench(t, false)
}

func makeBench(t testing.TB, withoutNetwork bool) *bench {
	t.Helper()
	base := "http://localhost:1"
	b := &bench{t: t, docs: &pushtest.Documents{}, box: &memoryMailbox{letters: map[uint64]push.Letter{}, seen: map[string][]byte{}}, to: &sink{},
		who: access.RootOf(account)}
	view := function.NewView()
	r := &function.Record{Key: function.Key{Account: account, Region: region, Name: "worker"}, Partition: "aws", Revision: 1}
	view.Apply(function.Change{Revision: 1, Key: r.Key, Function: r})
	view.Loaded()
	if !withoutNetwork {
		b.http = httptest.NewServer(http.HandlerFunc(b.serve))
		t.Cleanup(b.http.Close)
		base = b.http.URL
	}
	b.o = Options{Records: b.docs, Mailbox: b.box, Queues: b.to, AccountID: account, Dir: keys, Base: func() string { return base }, LocalEndpoints: true,
		Functions: &push.Functions{Invoker: invoke.New(invoke.Options{View: view}), Queue: b.to, Enforced: func() bool { return b.enforced }}, Log: slog.New(slog.DiscardHandler)}
	b.open()
	t.Cleanup(func() { b.server.Close() })
	b.client = awssns.New(awssns.Options{Region: region, BaseEndpoint: &base, RetryMaxAttempts: 1, HTTPClient: wholebody.Client(nil),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	return b
}

// do calls an operation without a network: synctest's time passes only when nobody waits for one.
func (b *bench) do(action string, with ...string) any {
	b.t.Helper()
	p := params{url.Values{}}
	for i := 0; i < len(with); i += 2 {
		p.Set(with[i], with[i+1])
	}
	out, err := b.server.operations()[action](&call{s: b.server, ctx: b.t.Context(), who: &b.who, region: region, p: p})
	if err != nil {
		b.t.Fatalf("%s: %v", action, err)
	}
	return out
}

func (b *bench) open() {
	b.t.Helper()
	s, err := Open(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = s
}

// again ends the server, and starts another on what is on disk.
func (b *bench) again() {
	b.t.Helper()
	if err := b.server.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

func (b *bench) serve(w http.ResponseWriter, r *http.Request) {
	if b.server.Serves(r) {
		b.server.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	w.Header().Set("X-Amzn-Requestid", "request")
	b.server.Serve(w, r.WithContext(access.WithCaller(r.Context(), &b.who)), "", region, body)
}

func (b *bench) topic(name string, attributes map[string]string) string {
	b.t.Helper()
	out, err := b.client.CreateTopic(b.t.Context(), &awssns.CreateTopicInput{Name: &name, Attributes: attributes})
	if err != nil {
		b.t.Fatal(err)
	}
	return *out.TopicArn
}

func (b *bench) subscribe(topic, protocol, endpoint string, attributes map[string]string) string {
	b.t.Helper()
	out, err := b.client.Subscribe(b.t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attributes, ReturnSubscriptionArn: true})
	if err != nil {
		b.t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func (b *bench) publish(topic, message string) *awssns.PublishOutput {
	b.t.Helper()
	out, err := b.client.Publish(b.t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String(message)})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func queueARN(name string) string { return "arn:aws:sqs:" + region + ":" + account + ":" + name }

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", what)
		}
	}
}
