package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
	"thaw/eventsource/poller"
	"thaw/function"
	"thaw/invoke"
)

func TestMain(m *testing.M) { eventsourcetest.Main(m) }

// TestBroker is the one start of Apache Kafka; all else is in front of kfake.
func TestBroker(t *testing.T) {
	t.Parallel()
	o := eventsourcetest.StartOAuth(t, 4*time.Second)
	b := eventsourcetest.StartKafka(t, o.Listener("urn:kafka", time.Hour))
	k := kafkaClient(t, b)
	at := []string{b.Plain}
	t.Run("side by side", func(t *testing.T) {
		for name, test := range map[string]func(t *testing.T){
			"tokens":               func(t *testing.T) { testTokens(t, b, o) },
			"web identity":         func(t *testing.T) { testWebIdentity(t, b, o) },
			"queue, long function": func(t *testing.T) { testLongFunction(t, k, at) },
			"queue, given up":      func(t *testing.T) { testGivenUp(t, k, at) },
			"queue, kills":         func(t *testing.T) { testKills(t, k, at) },
			"queue, transactions":  func(t *testing.T) { testTransactions(t, k, at) },
			"wrong password":       func(t *testing.T) { testWrongPassword(t, b) },
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); test(t) })
		}
	})
	after := queueAround(t, k, b)
	t.Run("story", func(t *testing.T) { testStory(t, b) })
	t.Run("queue, after the broker's death", after)
}

func kafkaClient(t *testing.T, b *eventsourcetest.Kafka) *kgo.Client {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// ledger is a function that keeps what it was given, by partition.
type ledger struct {
	t   *testing.T
	mu  sync.Mutex
	got map[string][]string
}

// Invoke implements poller.Invoker.
func (l *ledger) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	var e struct {
		EventSource, BootstrapServers string
		Records                       map[string][]struct{ Key, Value []byte }
	}
	if err := json.Unmarshal(r.Event, &e); err != nil || e.EventSource != "SelfManagedKafka" || e.BootstrapServers == "" {
		l.t.Errorf("invoked with %s", r.Event)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, records := range e.Records {
		for _, one := range records {
			l.got[partition] = append(l.got[partition], string(one.Key)+" "+string(one.Value))
		}
	}
	return &invoke.Result{Outcome: &function.Outcome{Payload: []byte("null")}, Version: &function.Version{Number: function.Latest}}, nil
}

// firsts are what was seen of a partition, each once, in that order.
func (l *ledger) firsts(partition string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.got[partition] {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

func serve(t *testing.T, known eventsource.Secrets) (*poller.Service, *ledger) {
	t.Helper()
	return serveWith(t, kafka.New(known, nil, load))
}

func serveWith(t *testing.T, d *kafka.Driver) (*poller.Service, *ledger) {
	t.Helper()
	l := &ledger{t: t, got: map[string][]string{}}
	return serviceOf(t, d, l), l
}

// handler is a function that is given the values of a batch.
type handler func(values []string) error

// Invoke implements poller.Invoker.
func (h handler) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	var e struct {
		Records map[string][]struct{ Value []byte }
	}
	if err := json.Unmarshal(r.Event, &e); err != nil {
		return nil, err
	}
	var values []string
	for _, records := range e.Records {
		for _, one := range records {
			values = append(values, string(one.Value))
		}
	}
	o := &function.Outcome{Payload: []byte("null")}
	if err := h(values); err != nil {
		o.FunctionError = "Unhandled"
	}
	return &invoke.Result{Outcome: o, Version: &function.Version{Number: function.Latest}}, nil
}

func serveFunction(t *testing.T, h handler) *poller.Service {
	t.Helper()
	return serviceOf(t, kafka.New(noSecrets, nil, load), h)
}

func serviceOf(t *testing.T, d *kafka.Driver, to poller.Invoker) *poller.Service {
	t.Helper()
	store, view := eventsourcetest.NewStore().Server(), function.NewView()
	view.Apply(function.Change{Revision: 1, Key: fn, Function: &function.Record{Key: fn, Partition: "aws", Incarnation: 1, Revision: 1,
		Latest: function.VersionRecord{Number: function.Latest, Config: function.Config{TimeoutSeconds: 1}}}})
	view.Loaded()
	service, err := poller.Open(t.Context(), poller.Options{Records: store, Checkpoints: store, Leases: store,
		Drivers: map[eventsource.Kind]eventsource.Driver{eventsource.SelfManagedKafka: d},
		Invoker: to, View: view, Metrics: eventsourcetest.NoMetrics{}, Log: slog.New(slog.DiscardHandler),
		Reconnect: eventsource.Delays{First: 20 * time.Millisecond, Limit: 300 * time.Millisecond}, List: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = service.Close(ctx)
	})
	return service
}

var fn = function.Key{Account: "123456789012", Region: "eu-north-1", Name: "fn"}

// mappingOf is one of a topic of its own, as CreateEventSourceMapping would have it.
func mappingOf(t *testing.T, b *eventsourcetest.Kafka, k *kgo.Client, topic string, partitions int32) *eventsource.Mapping {
	t.Helper()
	createTopic(t, k, topic, partitions)
	zero := 0
	m := &eventsource.Mapping{
		ID: eventsource.ID(uuid.NewString()), Kind: eventsource.SelfManagedKafka, Function: fn, Partition: "aws", State: eventsource.Creating,
		Source: eventsource.Origin{Brokers: []string{b.Plain}, Topics: []string{topic}, GroupID: "group-" + topic, Start: eventsource.TrimHorizon},
	}
	m.Options.BatchSize, m.Options.Window, m.Options.MaxRetries, m.Options.MaxAge = 10, &zero, -1, -1
	return m
}

// committed is what the group has committed of each partition, as another client sees it. -1: nothing.
func committed(t *testing.T, k *kgo.Client, group, topic string, partitions int32) []int64 {
	t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	one, of := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
	of.Topic, one.Group, r.Group = topic, group, group
	for n := range partitions {
		of.Partitions = append(of.Partitions, n)
	}
	one.Topics = append(one.Topics, of)
	r.Groups = append(r.Groups, one)
	all := slices.Repeat([]int64{-1}, int(partitions))
	answer, err := r.RequestWith(t.Context(), k)
	if err != nil {
		return all
	}
	for _, g := range answer.Groups {
		for _, of := range g.Topics {
			for _, p := range of.Partitions {
				all[p.Partition] = p.Offset
			}
		}
	}
	return all
}

// S-086, S-087: keyed records over three partitions, a filter, and a broker that is killed and comes back. Order is kept in
// each partition, nothing is lost, and the group has committed everything, what was filtered out too.
func testStory(t *testing.T, b *eventsourcetest.Kafka) {
	const topic, partitions = "orders", 3
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Plain), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := mappingOf(t, b, k, topic, partitions)
	m.Filters = []string{`{"value":{"pass":[true]}}`}
	service, l := serve(t, noSecrets)
	want, sent := map[string][]string{}, make([]int64, partitions)
	send := func(from, to int) {
		for n := from; n < to; n++ {
			p := n % partitions
			key, value := "k"+strconv.Itoa(n%7), fmt.Sprintf(`{"n":%d,"pass":%t}`, n, n%4 != 0)
			put(t, k, &kgo.Record{Topic: topic, Partition: int32(p), Key: []byte(key), Value: []byte(value)})
			if sent[p]++; n%4 != 0 {
				want[fmt.Sprintf("%s-%d", topic, p)] = append(want[fmt.Sprintf("%s-%d", topic, p)], key+" "+value)
			}
		}
	}
	done := func(what string) {
		t.Helper()
		eventsourcetest.Until(t, "what was put "+what+" is committed", func() bool { return slices.Equal(committed(t, k, m.Source.GroupID, topic, partitions), sent) })
		for p, all := range want {
			if got := l.firsts(p); !slices.Equal(got, all) {
				t.Errorf("%s: of %s was seen\n%v\nwant\n%v", what, p, got, all)
			}
		}
	}
	send(0, 12) // before the mapping is there
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	send(12, 40)
	done("before the kill")
	send(40, 60)
	b.Process.Kill() // with records that nobody has seen, or that are not committed yet
	eventsourcetest.Until(t, "the mapping says that its cluster is away", func() bool { return strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
	b.Process.Start(t)
	send(60, 80)
	done("around the kill")
	eventsourcetest.Until(t, "the problem is forgotten", func() bool { return !strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
	seen := 0
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.got {
		seen += len(all)
	}
	t.Logf("80 put, 20 filtered out, 60 to be seen, 0 lost, %d seen again", seen-60)
}

func result(t *testing.T, service *poller.Service, m *eventsource.Mapping) string {
	t.Helper()
	now, err := service.Get(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now.Result
}

// S-089: a wrong password is told, and a corrected secret helps by itself.
func testWrongPassword(t *testing.T, b *eventsourcetest.Kafka) {
	const topic = "guarded"
	k, err := kgo.NewClient(kgo.SeedBrokers(b.Plain))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := mappingOf(t, b, k, topic, 1)
	m.Source.Brokers = []string{b.Login}
	m.Source.Access = []eventsource.Access{{Type: "BASIC_AUTH", URI: "login"}, {Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	known := eventsourcetest.NewSecrets(map[string]string{"login": `{"username":"lambda","password":"wrong"}`, "ca": certificateJSON(t, b.Root)})
	service, l := serve(t, known)
	put(t, k, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(`{"n":1}`)})
	if _, err := service.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "the mapping says why", func() bool { return strings.Contains(result(t, service, m), "SASL authentication failed") })
	if got := l.firsts("guarded-0"); len(got) > 0 {
		t.Errorf("seen without a login: %v", got)
	}
	known.Set("login", `{"username":"lambda","password":"secret"}`)
	eventsourcetest.Until(t, "the record is seen", func() bool { return slices.Equal(l.firsts("guarded-0"), []string{`k {"n":1}`}) })
	eventsourcetest.Until(t, "the problem is forgotten", func() bool { return !strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
}
