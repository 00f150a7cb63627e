package kafka_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
)

// noSecrets are for mappings that log in nowhere.
var noSecrets = eventsourcetest.NewSecrets(nil)

const arn = "arn:aws:kafka:eu-north-1:123456789012:cluster/c/1"

func load(context.Context, string) (aws.Config, error) {
	return aws.Config{Region: "eu-north-1", Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", "")}, nil
}

func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"), kfake.SeedTopics(1, "lost")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func client(t testing.TB, c *kfake.Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	k, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.ListenAddrs()...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func selfManaged(c *kfake.Cluster, topic string, access ...eventsource.Access) *eventsource.Mapping {
	return &eventsource.Mapping{
		ID: eventsource.ID(uuid.NewString()), Kind: eventsource.SelfManagedKafka,
		Source: eventsource.Origin{Brokers: c.ListenAddrs(), Topics: []string{topic}, Start: eventsource.TrimHorizon, Access: access},
	}
}

func open(t *testing.T, d *kafka.Driver, m *eventsource.Mapping) *eventsource.Source {
	t.Helper()
	src, err := d.Open(t.Context(), m, eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close(context.Background()) })
	return src
}

// shards waits until a source has been assigned n partitions.
func shards(t *testing.T, src *eventsource.Source, n int) []eventsource.Shard {
	t.Helper()
	var all []eventsource.Shard
	eventsourcetest.Until(t, "the partitions are assigned", func() bool {
		var err error
		if all, err = src.Stream.Shards(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(all) == n
	})
	return all
}

func read(t *testing.T, src *eventsource.Source, shard string) eventsource.Reader {
	t.Helper()
	r, err := src.Stream.Read(t.Context(), shard, eventsource.Start{At: eventsource.TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func put(t testing.TB, k *kgo.Client, all ...*kgo.Record) {
	t.Helper()
	if err := k.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// S-082, S-083: the event of both kinds, header bytes; and what a failure record says of a batch.
func TestEvent(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	k := client(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	put(t, k,
		&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("k1"), Value: []byte(`{"a":1}`), Timestamp: time.UnixMilli(1763629000123),
			Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-\x80")}}},
		&kgo.Record{Topic: "orders", Partition: 1, Timestamp: time.UnixMilli(1763629000124)})
	d := kafka.New(noSecrets, eventsourcetest.Endpoints{arn: "kafka://" + strings.Join(c.ListenAddrs(), ",")}, load)
	own := open(t, d, selfManaged(c, "orders"))
	shards(t, own, 3)
	all := eventsourcetest.Next(t, read(t, own, "orders-1"), 2)
	for i, want := range []string{
		`{"topic":"orders","partition":1,"offset":0,"timestamp":1763629000123,"timestampType":"CREATE_TIME","key":"azE=","value":"eyJhIjoxfQ==","headers":[{"traceparent":[48,48,45,-128]}]}`,
		`{"topic":"orders","partition":1,"offset":1,"timestamp":1763629000124,"timestampType":"CREATE_TIME","headers":[]}`,
	} {
		if got := string(all[i].Event); got != want {
			t.Errorf("record %d\n got %s\nwant %s", i, got, want)
		}
		if all[i].Group != "orders-1" || all[i].ID != eventsource.KafkaID("orders", 1, int64(i)) {
			t.Errorf("record %+v", all[i])
		}
	}
	eventsourcetest.AsTaken(t, eventsource.SelfManagedKafka, all...)
	f := all[0].Filtered()
	if string(f.Meta) != `{"topic":"orders","partition":1,"offset":0,"timestamp":1763629000123,"timestampType":"CREATE_TIME"}` || len(f.Data) != 2 {
		t.Errorf("filters see %s %v", f.Meta, f.Data)
	}
	bootstrap := strings.Join(c.ListenAddrs(), ",")
	if want := `{"eventSource":"SelfManagedKafka","bootstrapServers":"` + bootstrap + `","records":`; own.Envelope.Head != want {
		t.Errorf("head %s, want %s", own.Envelope.Head, want)
	}
	member, info := own.Info(all)
	if want := `"recordsInfo":{"orders-1":{"firstRecordOffset":"0","lastRecordOffset":"1","firstRecordTimestamp":"2025-11-20T08:56:40.123Z",` +
		`"lastRecordTimestamp":"2025-11-20T08:56:40.124Z"}}`; member != "KafkaBatchInfo" || !strings.Contains(string(info), want) {
		t.Errorf("%s %s", member, info)
	}

	managed := selfManaged(c, "orders")
	managed.Kind, managed.Source.ARN, managed.Source.Brokers = eventsource.MSK, arn, nil
	src := open(t, d, managed)
	if want := `{"eventSource":"aws:kafka","eventSourceArn":"` + arn + `","bootstrapServers":"` + bootstrap + `","records":`; src.Envelope.Head != want {
		t.Errorf("head %s, want %s", src.Envelope.Head, want)
	}
}

// S-084, S-085: where a group begins that has committed nothing; one that has goes on behind it.
func TestWhereReadingBegins(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	k := client(t, c)
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 4 {
		put(t, k, &kgo.Record{Topic: "lost", Value: []byte{byte('0' + i)}, Timestamp: at.Add(time.Duration(i) * time.Minute)})
	}
	d := kafka.New(noSecrets, nil, load)
	for name, one := range map[string]struct {
		change func(*eventsource.Mapping)
		first  string
	}{
		"oldest": {func(*eventsource.Mapping) {}, `"offset":0`},
		"at a time": {func(m *eventsource.Mapping) {
			m.Source.Start, m.Source.StartTime = eventsource.AtTimestamp, at.Add(90*time.Second)
		}, `"offset":2`},
		"latest": {func(m *eventsource.Mapping) { m.Source.Start, m.Created = eventsource.Latest, at.Add(150*time.Second) }, `"offset":3`},
	} {
		m := selfManaged(c, "lost")
		one.change(m)
		src := open(t, d, m)
		shards(t, src, 1)
		r := read(t, src, "lost-0")
		first := eventsourcetest.Next(t, r, 1)[0]
		if !strings.Contains(string(first.Event), one.first) {
			t.Errorf("%s: %s, want %s", name, first.Event, one.first)
		}
		if err := r.Commit(t.Context(), first.Position); err != nil {
			t.Fatal(err)
		}
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if name != "oldest" {
			continue
		}
		again := open(t, d, m)
		shards(t, again, 1)
		if got := string(eventsourcetest.Next(t, read(t, again, "lost-0"), 1)[0].Event); !strings.Contains(got, `"offset":1`) {
			t.Errorf("behind what was committed is %s", got)
		}
	}
}

// S-094: a second server gets some of the partitions; what the first one reads of them is revoked, and cannot be committed.
func TestRebalance(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	d := kafka.New(noSecrets, nil, load)
	m := selfManaged(c, "orders")
	first := open(t, d, m)
	readers := map[string]eventsource.Reader{}
	for _, s := range shards(t, first, 3) {
		readers[s.ID] = read(t, first, s.ID)
	}
	second := open(t, d, m)
	eventsourcetest.Until(t, "the second server has partitions", func() bool {
		all, err := second.Stream.Shards(t.Context())
		return err == nil && len(all) > 0
	})
	taken, err := second.Stream.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range taken {
		<-readers[s.ID].Revoked()
		if _, err := readers[s.ID].Next(t.Context(), 1); !errors.Is(err, eventsource.ErrRevoked) {
			t.Errorf("next of %s: %v", s.ID, err)
		}
		if err := readers[s.ID].Commit(t.Context(), "0"); !errors.Is(err, eventsource.ErrRevoked) {
			t.Errorf("commit of %s: %v", s.ID, err)
		}
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	shards(t, first, 3)
}

// S-088, and the texts of S-089.
func TestLogins(t *testing.T) {
	t.Parallel()
	pair, root := eventsourcetest.Certificate(t)
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "admin", "p"), kfake.Superuser("SCRAM-SHA-512", "admin", "p"), kfake.Superuser("SCRAM-SHA-256", "admin", "p"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}}))
	known := eventsourcetest.NewSecrets(map[string]string{"login": `{"username":"admin","password":"p"}`, "wrong": `{"username":"admin","password":"x"}`, "ca": certificateJSON(t, root), "nonsense": `{"certificate":"x"}`, "text": `x`})
	d := kafka.New(known, nil, load)
	for name, one := range map[string]struct {
		typ, login, ca, code, text string
	}{
		"plain":     {"BASIC_AUTH", "login", "ca", "", ""},
		"scram 256": {"SASL_SCRAM_256_AUTH", "login", "ca", "", ""},
		"scram 512": {"SASL_SCRAM_512_AUTH", "login", "ca", "", ""},
		// A wrong password has kfake close the connection; what a real broker says then is in TestBroker.
		"unknown root":      {"BASIC_AUTH", "login", "", "EVENT_SOURCE_AUTHN_ERROR", "Lambda failed to authenticate server"},
		"no certificate":    {"BASIC_AUTH", "login", "nonsense", "EVENT_SOURCE_AUTHN_ERROR", "Provided certificate or private key is invalid"},
		"no secret":         {"BASIC_AUTH", "none", "ca", "", "The secret none is not there."},
		"no JSON":           {"BASIC_AUTH", "text", "ca", "ESM_CONFIG_NOT_VALID", "is not the JSON object"},
		"key is no key":     {"CLIENT_CERTIFICATE_TLS_AUTH", "ca", "ca", "EVENT_SOURCE_AUTHN_ERROR", "Provided certificate or private key is invalid"},
		"what nobody knows": {"VIRTUAL_HOST", "login", "ca", "ESM_CONFIG_NOT_VALID", "VIRTUAL_HOST is not"},
	} {
		access := []eventsource.Access{{Type: "VPC_SUBNET", URI: "subnet:subnet-1"}, {Type: one.typ, URI: one.login}}
		if one.ca != "" {
			access = append(access, eventsource.Access{Type: "SERVER_ROOT_CA_CERTIFICATE", URI: one.ca})
		}
		src, err := d.Open(t.Context(), selfManaged(c, "orders", access...), eventsource.Facts{})
		if one.text == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			shards(t, src, 3)
			_ = src.Close(t.Context())
			continue
		}
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || p.Code != one.code || !strings.Contains(p.Text, one.text) {
			t.Errorf("%s: error %#v, want %s %q", name, err, one.code, one.text)
		}
	}
}

func certificateJSON(t *testing.T, root string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"certificate": root})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProblems(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	d := kafka.New(noSecrets, eventsourcetest.Endpoints{"arn:a": "http://x:1"}, load)
	gone := selfManaged(c, "orders")
	gone.Source.Brokers = []string{"127.0.0.1:1"}
	nowhere, scheme := selfManaged(c, "orders"), selfManaged(c, "orders")
	nowhere.Kind, nowhere.Source.ARN = eventsource.MSK, arn
	scheme.Kind, scheme.Source.ARN = eventsource.MSK, "arn:a"
	for text, m := range map[string]*eventsource.Mapping{
		"The topic does not exist":                selfManaged(c, "none"),
		"cannot be reached":                       gone,
		"--sources " + arn + "=kafka://HOST:PORT": nowhere,
		"not kafka://HOST:PORT":                   scheme,
	} {
		_, err := d.Open(t.Context(), m, eventsource.Facts{})
		var p *eventsource.ProblemError
		if !errors.As(err, &p) || !strings.Contains(p.Text, text) {
			t.Errorf("error %v, want %q", err, text)
		}
	}
}

// S-092: a failure goes into a topic of the same cluster, a message for each record, with its key.
func TestTopicAsDestination(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	k := client(t, c, kgo.ConsumeTopics("lost"))
	put(t, k, &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte("v")})
	m := selfManaged(c, "orders")
	m.Options.OnFailure = "kafka://lost"
	src := open(t, kafka.New(noSecrets, nil, load), m)
	var all []*eventsource.Record
	for _, s := range shards(t, src, 3) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		some, _ := read(t, src, s.ID).Next(ctx, 1)
		all = append(all, some...)
		cancel()
	}
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	if err := src.Deliver(t.Context(), &eventsource.Failure{Mapping: m, Records: all, Condition: eventsource.RetryAttemptsExhausted, Attempts: 3, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	got := k.PollFetches(t.Context()).Records()
	if len(got) != 1 || string(got[0].Key) != "k" {
		t.Fatalf("told: %v", got)
	}
	var told struct {
		RequestContext struct{ Condition string }
		KafkaBatchInfo struct {
			BatchSize  int
			RecordInfo struct{ Offset string }
		}
		Payload struct {
			Records map[string][]struct{ Value []byte }
		}
	}
	if err := json.Unmarshal(got[0].Value, &told); err != nil {
		t.Fatal(err)
	}
	if told.RequestContext.Condition != "RetriesExhausted" || told.KafkaBatchInfo.BatchSize != 1 || told.KafkaBatchInfo.RecordInfo.Offset != "0" ||
		string(told.Payload.Records[all[0].Group][0].Value) != "v" {
		t.Errorf("told %s", got[0].Value)
	}
}

// S-095: values are read by their schema; what can never be read says why; a registry that is away is waited for.
func TestSchemas(t *testing.T) {
	t.Parallel()
	registry := srfake.New()
	defer registry.Close()
	registry.SeedSchema("orders", 1, 7, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[{"name":"n","type":"long"}]}`})
	c := cluster(t)
	k := client(t, c)
	framed := []byte{0, 0, 0, 0, 7, 0x0a}
	put(t, k, &kgo.Record{Topic: "lost", Key: []byte("k"), Value: framed}, &kgo.Record{Topic: "lost", Value: []byte{0, 0, 0, 0, 9}}, &kgo.Record{Topic: "lost", Value: []byte("x")})
	for _, source := range []bool{false, true} {
		m := selfManaged(c, "lost")
		m.Source.Schema = &eventsource.Schema{URI: registry.URL(), Attributes: []string{"VALUE"}, Source: source}
		src := open(t, kafka.New(noSecrets, nil, load), m)
		shards(t, src, 1)
		r := read(t, src, "lost-0")
		if !source {
			registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				http.Error(w, "{}", http.StatusInternalServerError)
				return true
			})
			_, err := r.Next(t.Context(), 3)
			var p *eventsource.ProblemError
			if !errors.As(err, &p) || !strings.Contains(p.Text, "registry cannot be asked") {
				t.Errorf("error %v", err)
			}
			registry.ClearInterceptors()
		}
		all := eventsourcetest.Next(t, r, 3)
		want := `"value":"eyJuIjo1fQ=="` // {"n":5}
		if source {
			want = `"value":"Cg=="`
		}
		if got := string(all[0].Event); !strings.Contains(got, want) || !strings.Contains(got, `"key":"aw=="`) ||
			!strings.Contains(got, `"valueSchemaMetadata":{"dataFormat":"AVRO","schemaId":"7"}`) {
			t.Errorf("read: %s, want %s", got, want)
		}
		if all[0].Unreadable != "" || all[1].Unreadable != "SCHEMA_NOT_FOUND" || all[2].Unreadable != "DESERIALIZATION_ERROR" {
			t.Errorf("unreadable: %q %q %q", all[0].Unreadable, all[1].Unreadable, all[2].Unreadable)
		}
	}
}

func fixture(t *testing.T, c *kfake.Cluster) eventsourcetest.Fixture {
	t.Helper()
	k := client(t, c, kgo.AllowAutoTopicCreation())
	return eventsourcetest.Fixture{
		Driver: kafka.New(noSecrets, nil, load),
		New: func(t testing.TB) *eventsource.Mapping {
			topic := "t" + uuid.NewString()
			createTopic(t, k, topic, 2)
			m := selfManaged(c, topic)
			m.Source.Start = eventsource.TrimHorizon
			return m
		},
		Put: func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
			for _, b := range bodies {
				put(t, k, &kgo.Record{Topic: m.Source.Topics[0], Key: []byte(key), Value: []byte(b)})
			}
		},
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				Records map[string][]struct {
					Offset int64
					Value  []byte
				}
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for partition, records := range e.Records {
				for _, r := range records {
					id, err := json.Marshal(map[string]any{"partition": partition, "offset": r.Offset})
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, eventsourcetest.Seen{Body: string(r.Value), ID: id})
				}
			}
			return all
		},
		Pattern: `{"value":{"pass":[true]}}`,
	}
}

// S-030, S-086, S-087, S-091: nothing is committed before its invoke, and order is kept in each partition.
func TestConformance(t *testing.T) {
	t.Parallel()
	eventsourcetest.Run(t, fixture(t, cluster(t)))
}

func createTopic(t testing.TB, k *kgo.Client, topic string, partitions int32) {
	t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, partitions, 1
	r.Topics = append(r.Topics, one)
	if _, err := r.RequestWith(t.Context(), k); err != nil {
		t.Fatal(err)
	}
}
