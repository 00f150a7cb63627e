package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/shards"
)

func TestMain(m *testing.M) {
	pace = shards.Pace{Base: 50 * time.Millisecond, Idle: 100 * time.Millisecond}
	eventsourcetest.Main(m)
}

// service is moto, and a client and a driver that go to it, whatever the environment says.
type service struct {
	client *kinesis.Client
	driver *Driver
}

func start(t testing.TB) *service {
	t.Helper()
	endpoint := eventsourcetest.Moto(t)
	s := &service{driver: New(), client: kinesis.New(kinesis.Options{
		BaseEndpoint: &endpoint, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		// moto closes connections that the client would use again; a request that is then sent twice is done twice.
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})}
	s.driver.clients.Put("eu-west-1", s.client)
	return s
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
	var arn string
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

// S-051: the event; S-057: what a failure record tells of a batch.
func TestEvent(t *testing.T) {
	t.Parallel()
	s := start(t)
	arn := s.stream(t, 1)
	s.put(t, arn, "pk", "hello", "x")
	src := s.open(t, arn)
	list, err := src.Stream.Shards(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r, err := src.Stream.Read(t.Context(), list[0].ID, eventsource.Start{At: eventsource.TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	all := eventsourcetest.Next(t, r, 2)
	first := all[0]
	want := `{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"pk","sequenceNumber":"` + first.Position + `","data":"aGVsbG8=","approximateArrivalTimestamp":` +
		seconds(first.Arrived).String() + `},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"` + list[0].ID + ":" + first.Position +
		`","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::123456789012:role/fn","awsRegion":"eu-west-1","eventSourceARN":"` + arn + `"}`
	if got := string(first.Event); got != want {
		t.Errorf("event\n got %s\nwant %s", got, want)
	}
	if seconds(time.UnixMilli(1763629000123)) != "1763629000.123" {
		t.Errorf("a time is written %s", seconds(time.UnixMilli(1763629000123)))
	}
	eventsourcetest.AsTaken(t, eventsource.Kinesis, all...)
	f := first.Filtered()
	var meta map[string]any
	if err := json.Unmarshal(f.Meta, &meta); err != nil || meta["partitionKey"] != "pk" || meta["eventName"] != "aws:kinesis:record" || meta["kinesis"] != nil ||
		string(f.Data[0].Bytes) != "hello" {
		t.Errorf("filters see %s %v", f.Meta, f.Data)
	}
	member, info := src.Info(all)
	if member != "KinesisBatchInfo" || !strings.HasPrefix(string(info), `{"shardId":"`+list[0].ID+`","startSequenceNumber":"`+all[0].Position+`","endSequenceNumber":"`+all[1].Position+`","approximateArrivalOfFirstRecord":"`) ||
		!strings.HasSuffix(string(info), `"batchSize":2,"streamArn":"`+arn+`"}`) {
		t.Errorf("%s %s", member, info)
	}
}

// S-052: where a shard is begun. The children of one that was split name it; moto never ends a closed shard, so how that is
// read is tested in package shards.
func TestBeginningsAndSplits(t *testing.T) {
	t.Parallel()
	s := start(t)
	arn := s.stream(t, 1)
	s.put(t, arn, "k", "old")
	time.Sleep(1100 * time.Millisecond) // moto counts times in seconds
	begun := time.Now()
	time.Sleep(1100 * time.Millisecond)
	s.put(t, arn, "k", "new")
	src := s.open(t, arn)
	list, err := src.Stream.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from  eventsource.Start
		first string
	}{
		{eventsource.Start{At: eventsource.TrimHorizon}, "old"},
		{eventsource.Start{At: eventsource.AtTimestamp, Time: begun}, "new"},
		{eventsource.Start{At: eventsource.Latest, Time: begun}, "new"},
	} {
		r, err := src.Stream.Read(t.Context(), list[0].ID, c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := eventsourcetest.Next(t, r, 1)[0].Filtered().Data[0].Bytes; string(got) != c.first {
			t.Errorf("%v begins with %s, want %s", c.from, got, c.first)
		}
	}
	if _, err := s.client.SplitShard(t.Context(), &kinesis.SplitShardInput{
		StreamARN: &arn, ShardToSplit: &list[0].ID, NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
	}); err != nil {
		t.Fatal(err)
	}
	after, err := src.Stream.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	children := 0
	for _, sh := range after {
		if len(sh.Parents) == 1 && sh.Parents[0] == list[0].ID {
			children++
		}
	}
	if children != 2 {
		t.Errorf("shards after a split: %v", after)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	s := start(t)
	none := mapping("arn:aws:kinesis:eu-west-1:123456789012:stream/none")
	var invalid *eventsource.InvalidError
	if err := s.driver.Check(t.Context(), none, eventsource.Facts{}); !errors.As(err, &invalid) || invalid.Message != "Stream not found: "+none.Source.ARN {
		t.Errorf("check: %v", err)
	}
	consumer := mapping("arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1")
	if err := s.driver.Check(t.Context(), consumer, eventsource.Facts{}); !errors.As(err, &invalid) || !strings.Contains(invalid.Message, "enhanced fan-out") {
		t.Errorf("check of a consumer: %v", err)
	}
	var p *eventsource.ProblemError
	if _, err := s.driver.Open(t.Context(), none, eventsource.Facts{}); !errors.As(err, &p) || p.Text != "The stream does not exist." {
		t.Errorf("open: %v", err)
	}
}

// S-053, S-054, S-055: batches of one shard, order, each mapping all records.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := start(t)
	eventsourcetest.Run(t, eventsourcetest.Fixture{
		Driver: s.driver,
		New:    func(t testing.TB) *eventsource.Mapping { return mapping(s.stream(t, 2)) },
		Put: func(t testing.TB, m *eventsource.Mapping, key string, bodies ...string) {
			s.put(t, m.Source.ARN, key, bodies...)
		},
		Pattern: `{"data":{"pass":[true]}}`,
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				Records []struct {
					Kinesis struct {
						SequenceNumber string
						Data           []byte
					}
				}
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.Records {
				id, err := json.Marshal(r.Kinesis.SequenceNumber)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, eventsourcetest.Seen{Body: string(r.Kinesis.Data), ID: id})
			}
			return all
		},
	})
}
