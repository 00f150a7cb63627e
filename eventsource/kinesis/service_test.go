package kinesis

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/shards"
	"thaw/internal/wholebody"
)

func TestMain(m *testing.M) {
	pace = shards.Pace{Base: 50 * time.Millisecond, Idle: 100 * time.Millisecond}
	callPace, silence = 200*time.Millisecond, 8*time.Second
	eventsourcetest.Main(m)
}

// service is a server that stands for Kinesis, and a client and a driver that go to it, whatever the environment says.
type service struct {
	client *kinesis.Client
	driver *Driver
}

// servers are all that are known. Each is started by the first test that asks for it.
var servers = map[string]func(testing.TB) *service{
	"moto": func(t testing.TB) *service { return serviceAt(eventsourcetest.Moto(t), awshttp.NewBuildableClient()) },
	"kinesis-local": func(t testing.TB) *service {
		return serviceAt(eventsourcetest.KinesisLocal(t), awshttp.NewBuildableClient())
	},
	"ministack": func(t testing.TB) *service {
		endpoint, root := eventsourcetest.Ministack(t)
		return serviceAt(endpoint, trusting(root))
	},
}

func serviceAt(endpoint string, client *awshttp.BuildableClient) *service {
	cfg := aws.Config{BaseEndpoint: &endpoint, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		// moto closes connections that the client would use again; a request that is then sent twice is done twice.
		HTTPClient: wholebody.Client(client.WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true }))}
	s := &service{driver: New(), client: kinesis.NewFromConfig(cfg)}
	if strings.HasPrefix(endpoint, "https:") {
		cfg.HTTPClient = wholebody.Client(client)
	}
	s.driver.clients.Put("eu-west-1", newClient(cfg))
	return s
}

// trusting is a client of a server with a certificate of its own.
func trusting(root string) *awshttp.BuildableClient {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.RootCAs = pool })
}

func start(t testing.TB) *service {
	t.Helper()
	return servers["moto"](t)
}

// stream makes a stream and waits until it is there.
func (s *service) stream(t testing.TB, shards int32) string {
	t.Helper()
	name := aws.String("s" + uuid.NewString()[:8])
	_, err := s.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: name, ShardCount: &shards})
	// The client asks again when moto closes a connection under its request, which moto had done.
	if err != nil && !errors.As(err, new(*types.ResourceInUseException)) {
		t.Fatal(err)
	}
	return s.active(t, name)
}

// active waits until a stream can be written and returns its ARN.
func (s *service) active(t testing.TB, name *string) (arn string) {
	t.Helper()
	eventsourcetest.Until(t, "the stream is active", func() bool {
		out, err := s.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: name})
		if err != nil {
			return false
		}
		arn = aws.ToString(out.StreamDescriptionSummary.StreamARN)
		return out.StreamDescriptionSummary.StreamStatus == "ACTIVE"
	})
	return arn
}

// consumer registers one of a stream and waits until it is there.
func (s *service) consumer(t testing.TB, stream string) (arn string) {
	t.Helper()
	out, err := s.client.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: &stream, ConsumerName: aws.String("c" + uuid.NewString()[:8])})
	if err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Until(t, "the consumer is active", func() bool {
		d, err := s.client.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: out.Consumer.ConsumerARN})
		return err == nil && d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive
	})
	return *out.Consumer.ConsumerARN
}

func (s *service) put(t testing.TB, arn, key string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if _, err := s.client.PutRecord(context.Background(), &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: &key, Data: []byte(b)}); err != nil {
			t.Fatal(err)
		}
	}
}

func mapping(arn string) *eventsource.Mapping {
	return &eventsource.Mapping{ID: eventsource.ID(uuid.NewString()), Kind: eventsource.Kinesis, Source: eventsource.Origin{ARN: arn}}
}

func (s *service) open(t testing.TB, arn string) *eventsource.Source {
	t.Helper()
	src, err := s.driver.Open(t.Context(), mapping(arn), eventsource.Facts{Role: "arn:aws:iam::123456789012:role/fn"})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// reshard has each key in another shard than before: the open shards of a stream are split, or merged where there are more
// than two of them.
func (s *service) reshard(t testing.TB, m *eventsource.Mapping) {
	t.Helper()
	arn, _ := streamOf(m.Source.ARN)
	out, err := s.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamARN: &arn})
	if err != nil {
		t.Fatal(err)
	}
	var open []types.Shard
	for _, sh := range out.Shards {
		if sh.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, sh)
		}
	}
	start := func(sh types.Shard) *big.Int {
		n, _ := new(big.Int).SetString(*sh.HashKeyRange.StartingHashKey, 10)
		return n
	}
	slices.SortFunc(open, func(a, b types.Shard) int { return start(a).Cmp(start(b)) })
	name := aws.String(strings.Split(arn, "/")[1])
	if len(open) > 2 {
		for i := 0; i+1 < len(open); i += 2 {
			if _, err := s.client.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: open[i].ShardId, AdjacentShardToMerge: open[i+1].ShardId}); err != nil {
				t.Fatal(err)
			}
			s.active(t, name)
		}
		return
	}
	for _, sh := range open {
		end, _ := new(big.Int).SetString(*sh.HashKeyRange.EndingHashKey, 10)
		middle := end.Add(end, start(sh))
		middle.Rsh(middle, 1)
		if _, err := s.client.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: name, ShardToSplit: sh.ShardId, NewStartingHashKey: aws.String(middle.String())}); err != nil {
			t.Fatal(err)
		}
		s.active(t, name)
	}
}
