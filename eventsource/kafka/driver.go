// Package kafka reads topics of Apache Kafka: self-managed clusters and Amazon MSK, as a member of a consumer group, or, in
// ConsumptionMode Queue, as members of a share group (share.go).
//
// A partition is a shard that the cluster assigns and whose position it keeps. One client reads all partitions of a
// mapping that this server is assigned; each has a buffer, and is not fetched while that is full.
//
// Source: docs/spec/event-sources.md, section 6.
package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thaw/eventsource"
)

// Driver is the eventsource.Driver of both kinds of Kafka.
type Driver struct {
	secrets   eventsource.Secrets
	endpoints eventsource.Endpoints
	load      func(ctx context.Context, region string) (aws.Config, error)
}

// New makes a driver. Clusters of MSK are found by their ARN: kafka://HOST:PORT,HOST:PORT, or kafka+ssl:// with TLS. load
// gives the configuration with which AWS is called, for MSK's logins and Glue's schemas.
func New(secrets eventsource.Secrets, endpoints eventsource.Endpoints, load func(ctx context.Context, region string) (aws.Config, error)) *Driver {
	return &Driver{secrets, endpoints, load}
}

// Check implements eventsource.Driver: the service looks at nothing before a mapping is there.
func (d *Driver) Check(context.Context, *eventsource.Mapping, eventsource.Facts) error { return nil }

// reach is how long a cluster may take to answer the first questions.
const reach = 10 * time.Second

// Open implements eventsource.Driver.
func (d *Driver) Open(ctx context.Context, m *eventsource.Mapping, _ eventsource.Facts) (*eventsource.Source, error) {
	brokers, secure, err := d.brokers(m)
	if err != nil {
		return nil, err
	}
	options, err := d.login(ctx, m, secure)
	if err != nil {
		return nil, err
	}
	shape := &shape{m: m, bootstrap: strings.Join(brokers, ",")}
	if err := d.schemas(ctx, m, shape); err != nil {
		return nil, err
	}
	options = append(options, kgo.SeedBrokers(brokers...), kgo.ClientID("thaw"), kgo.DialTimeout(reach), kgo.RetryTimeout(reach))

	// Whether the cluster is there, lets one in and has the topic is asked by a client without a group: one with a group
	// would go on asking by itself.
	if err := ask(ctx, m.Source.Topics[0], options); err != nil {
		return nil, err
	}
	s := &eventsource.Source{Envelope: shape.envelope(), Info: shape.info}
	var client *kgo.Client
	if m.Source.Queue {
		client, err = d.openShare(ctx, s, m, shape, options)
	} else {
		client, err = openStream(s, m, shape, options)
	}
	if err != nil {
		return nil, problem(err)
	}
	s.Deliver = func(ctx context.Context, f *eventsource.Failure) error { return deliver(ctx, client, shape, f) }
	return s, nil
}

// brokers are where the cluster is, and whether an address of MSK asks for TLS.
func (d *Driver) brokers(m *eventsource.Mapping) (all []string, secure bool, err error) {
	if m.Kind == eventsource.SelfManagedKafka {
		return m.Source.Brokers, false, nil
	}
	address, err := eventsource.Locate(d.endpoints, m.Source.ARN, "kafka://HOST:PORT")
	if err != nil {
		return nil, false, err
	}
	scheme, hosts, _ := strings.Cut(address, "://")
	if scheme != "kafka" && scheme != "kafka+ssl" {
		return nil, false, &eventsource.ProblemError{
			Code: "ESM_CONFIG_NOT_VALID", Text: "The address of the cluster is not kafka://HOST:PORT or kafka+ssl://HOST:PORT.",
		}
	}
	return strings.Split(strings.TrimSuffix(hosts, "/"), ","), scheme == "kafka+ssl", nil
}

// ask asks the cluster for the topic.
func ask(ctx context.Context, topic string, options []kgo.Opt) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return problem(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return problem(err)
	}
	request := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, one)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return problem(err)
	}
	for _, t := range response.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return problem(err)
		}
	}
	return nil
}

// shape is what records of a mapping look like.
type shape struct {
	m          *eventsource.Mapping
	bootstrap  string
	key, value attribute
}

func (s *shape) envelope() eventsource.Envelope {
	head := `{"eventSource":"SelfManagedKafka"`
	if s.m.Kind == eventsource.MSK {
		head = `{"eventSource":"aws:kafka","eventSourceArn":` + strconv.Quote(s.m.Source.ARN)
	}
	return eventsource.Envelope{Head: head + `,"bootstrapServers":` + strconv.Quote(s.bootstrap) + `,"records":`, Tail: `}`, Groups: true}
}

// batchInfo is what a failure record says of its batch. Source: section 6.5.
type batchInfo struct {
	BatchSize   int                   `json:"batchSize"`
	SourceARN   string                `json:"eventSourceArn,omitempty"`
	Bootstrap   string                `json:"bootstrapServers"`
	PayloadSize int                   `json:"payloadSize"`
	Records     map[string]*batchPart `json:"recordsInfo,omitempty"`
	Record      *onePart              `json:"recordInfo,omitempty"`
}

type batchPart struct {
	FirstOffset string `json:"firstRecordOffset"`
	LastOffset  string `json:"lastRecordOffset"`
	FirstTime   string `json:"firstRecordTimestamp"`
	LastTime    string `json:"lastRecordTimestamp"`
}

type onePart struct {
	Offset string `json:"offset"`
	Time   string `json:"timestamp"`
}

const infoMember = "KafkaBatchInfo"

func (s *shape) info(batch []*eventsource.Record) (string, json.RawMessage) {
	i := batchInfo{BatchSize: len(batch), SourceARN: s.m.Source.ARN, Bootstrap: s.bootstrap, Records: map[string]*batchPart{}}
	i.PayloadSize = len(s.envelope().Event(batch))
	for _, r := range batch {
		p := i.Records[r.Group]
		if p == nil {
			p = &batchPart{FirstOffset: r.Position, FirstTime: milliseconds(r.Arrived)}
			i.Records[r.Group] = p
		}
		p.LastOffset, p.LastTime = r.Position, milliseconds(r.Arrived)
	}
	return infoMember, marshal(i)
}

func milliseconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// original is the record as the cluster has it.
func original(r *eventsource.Record) *kgo.Record {
	if a, ok := r.Handle.(*acquired); ok {
		return a.Record
	}
	return r.Handle.(*kgo.Record)
}

// deliver writes a message for each record of a failure into a topic of the same cluster.
func deliver(ctx context.Context, client *kgo.Client, s *shape, f *eventsource.Failure) error {
	at, err := url.Parse(f.Mapping.Options.OnFailure)
	if err != nil || at.Scheme != "kafka" {
		return fmt.Errorf("the destination %s is no topic", f.Mapping.Options.OnFailure)
	}
	var all []*kgo.Record
	for _, r := range f.Records {
		one := *f
		one.Records, one.Member = []*eventsource.Record{r}, infoMember
		if f.Condition == eventsource.RetryAttemptsExhausted {
			one.Condition = "RetriesExhausted" // as documented for this destination alone
		}
		one.Payload = s.envelope().Event(one.Records)
		one.Info = marshal(batchInfo{
			BatchSize: 1, SourceARN: s.m.Source.ARN, Bootstrap: s.bootstrap, PayloadSize: len(one.Payload),
			Record: &onePart{r.Position, milliseconds(r.Arrived)},
		})
		all = append(all, &kgo.Record{Topic: at.Host, Key: original(r).Key, Value: one.Body(true)})
	}
	return client.ProduceSync(ctx, all...).FirstErr()
}
