package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/kafka"
)

// S-082, S-095: AWS's own types and tools find every member of an event of MSK, of a self-managed cluster, and of records
// with a schema.
func TestPublishedTypes(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	k := client(t, c)
	put(t, k, &kgo.Record{Topic: "lost", Key: []byte("k1"), Value: []byte(`{"a":1}`), Timestamp: time.UnixMilli(1763629000123),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-a")}}})
	bootstrap := strings.Join(c.ListenAddrs(), ",")
	d := kafka.New(noSecrets, eventsourcetest.Endpoints{arn: "kafka://" + bootstrap}, load)
	eventOf := func(m *eventsource.Mapping) []byte {
		src := open(t, d, m)
		shards(t, src, 1)
		return src.Envelope.Event(eventsourcetest.Next(t, read(t, src, "lost-0"), 1))
	}
	managed := selfManaged(c, "lost")
	managed.Kind, managed.Source.ARN, managed.Source.Brokers = eventsource.MSK, arn, nil
	event := eventOf(managed)
	eventsourcetest.Typed[events.KafkaEvent](t, event)
	eventsourcetest.LikeSample(t, event, "kafka-event.json", "records", "headers[]")
	servers := `"bootstrapServers":["` + strings.Join(c.ListenAddrs(), `","`) + `"]`
	record := `"topic":"lost","partition":0,"offset":0,"timestamp":"2025-11-20T08:56:40.123000Z","timestampType":"CREATE_TIME","key":"k1","value":"{\"a\":1}",
		"headers":[{"traceparent":"00-a"}],"keySchemaMetadata":null,"valueSchemaMetadata":null`
	const decoded = `"decoded":["k1",{"a":1},"00-a"]`
	eventsourcetest.Powertools(t, "kafka", event, `{"eventSource":"aws:kafka","eventSourceArn":"`+arn+`",`+servers+`,"records":{"lost-0":[{`+record+`}]},`+decoded+`}`)
	eventsourcetest.Powertools(t, "kafka", eventOf(selfManaged(c, "lost")), `{"eventSource":"SelfManagedKafka",`+servers+`,"records":{"lost-0":[{`+record+`}]},`+decoded+`}`)

	registry := srfake.New()
	defer registry.Close()
	const schema = `{"type":"record","name":"Order","fields":[{"name":"n","type":"long"}]}`
	registry.SeedSchema("orders", 1, 7, sr.Schema{Schema: schema})
	written := selfManaged(c, "avro")
	createTopic(t, k, "avro", 1)
	put(t, k, &kgo.Record{Topic: "avro", Value: []byte{0, 0, 0, 0, 7, 0x0a}})
	written.Source.Schema = &eventsource.Schema{URI: registry.URL(), Attributes: []string{"VALUE"}, Source: true}
	src := open(t, d, written)
	shards(t, src, 1)
	eventsourcetest.Powertools(t, "avro", src.Envelope.Event(eventsourcetest.Next(t, read(t, src, "avro-0"), 1)), `[{"n":5}]`, schema)
}
