package kafka_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

// broker is Apache Kafka, one node that is its own controller. It lets everybody in at plain, and those who log in by the
// mechanism PLAIN, over TLS, at login.
type broker struct {
	process      *eventsourcetest.Process
	plain, login string
	root         string // the certificate of login in PEM
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	jars := eventsourcetest.Maven(t, "org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36")
	dir := eventsourcetest.Dir(t)
	controller := fmt.Sprintf("127.0.0.1:%d", eventsourcetest.Port(t))
	b := &broker{plain: fmt.Sprintf("127.0.0.1:%d", eventsourcetest.Port(t)), login: fmt.Sprintf("127.0.0.1:%d", eventsourcetest.Port(t))}
	pair, root := eventsourcetest.Certificate(t)
	b.root = root
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	store := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	data := filepath.Join(dir, "data")
	settings := filepath.Join(dir, "server.properties")
	for file, text := range map[string]string{
		filepath.Join(dir, "server.pem"): string(store) + root,
		// What kafka-storage.sh format writes, without a second start of Java.
		filepath.Join(data, "meta.properties"): "version=1\nnode.id=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\ndirectory.id=9RPQdFWETRuGdmgqkVpMLw\n",
		settings: strings.Join([]string{
			"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller, "log.dirs=" + data,
			"listeners=PLAINTEXT://" + b.plain + ",SASL_SSL://" + b.login + ",CONTROLLER://" + controller,
			"advertised.listeners=PLAINTEXT://" + b.plain + ",SASL_SSL://" + b.login,
			"controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAINTEXT",
			"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
			"sasl.enabled.mechanisms=PLAIN",
			`listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_lambda="secret";`,
			"listener.name.sasl_ssl.ssl.keystore.type=PEM", "listener.name.sasl_ssl.ssl.keystore.location=" + filepath.Join(dir, "server.pem"),
			"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0",
			"auto.create.topics.enable=false", "",
		}, "\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready, err := kgo.NewClient(kgo.SeedBrokers(b.plain))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ready.Close)
	b.process = eventsourcetest.Launch(t, eventsourcetest.Program{
		Args: []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(jars, "*"), "kafka.Kafka", settings},
		Dir:  dir,
		Ready: func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, ready)
			return err == nil && len(r.Brokers) == 1
		},
	})
	return b
}

// TestBroker is the one start of Apache Kafka; all else is in front of kfake.
func TestBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	t.Run("story", func(t *testing.T) { testStory(t, b) })
	t.Run("wrong password", func(t *testing.T) { testWrongPassword(t, b) })
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
	l := &ledger{t: t, got: map[string][]string{}}
	store, view := eventsourcetest.NewStore().Server(), function.NewView()
	view.Apply(function.Change{Revision: 1, Key: fn, Function: &function.Record{Key: fn, Partition: "aws", Incarnation: 1, Revision: 1,
		Latest: function.VersionRecord{Number: function.Latest, Config: function.Config{TimeoutSeconds: 1}}}})
	view.Loaded()
	service, err := poller.Open(t.Context(), poller.Options{Records: store, Checkpoints: store, Leases: store,
		Drivers: map[eventsource.Kind]eventsource.Driver{eventsource.SelfManagedKafka: kafka.New(known, nil, load)},
		Invoker: l, View: view, Metrics: eventsourcetest.NoMetrics{}, Log: slog.New(slog.DiscardHandler),
		Reconnect: eventsource.Delays{First: 20 * time.Millisecond, Limit: 300 * time.Millisecond}, List: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = service.Close(ctx)
	})
	return service, l
}

var fn = function.Key{Account: "123456789012", Region: "eu-north-1", Name: "fn"}

// mapping is one of a topic of its own, as CreateEventSourceMapping would have it.
func (b *broker) mapping(t *testing.T, k *kgo.Client, topic string, partitions int32) *eventsource.Mapping {
	t.Helper()
	createTopic(t, k, topic, partitions)
	zero := 0
	m := &eventsource.Mapping{
		ID: eventsource.ID(uuid.NewString()), Kind: eventsource.SelfManagedKafka, Function: fn, Partition: "aws", State: eventsource.Creating,
		Source: eventsource.Origin{Brokers: []string{b.plain}, Topics: []string{topic}, GroupID: "group-" + topic, Start: eventsource.TrimHorizon},
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
func testStory(t *testing.T, b *broker) {
	const topic, partitions = "orders", 3
	k, err := kgo.NewClient(kgo.SeedBrokers(b.plain), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := b.mapping(t, k, topic, partitions)
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
	b.process.Kill() // with records that nobody has seen, or that are not committed yet
	eventsourcetest.Until(t, "the mapping says that its cluster is away", func() bool { return strings.HasPrefix(result(t, service, m), "PROBLEM: ") })
	b.process.Start(t)
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
func testWrongPassword(t *testing.T, b *broker) {
	const topic = "guarded"
	k, err := kgo.NewClient(kgo.SeedBrokers(b.plain))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := b.mapping(t, k, topic, 1)
	m.Source.Brokers = []string{b.login}
	m.Source.Access = []eventsource.Access{{Type: "BASIC_AUTH", URI: "login"}, {Type: "SERVER_ROOT_CA_CERTIFICATE", URI: "ca"}}
	known := eventsourcetest.NewSecrets(map[string]string{"login": `{"username":"lambda","password":"wrong"}`, "ca": certificateJSON(t, b.root)})
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
