package dynamodb

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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	tables "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/shards"
)

func TestMain(m *testing.M) {
	pace = shards.Pace{Base: 50 * time.Millisecond, Idle: 100 * time.Millisecond}
	eventsourcetest.Main(m)
}

// service is moto, with a client of tables, and a driver that goes to it, whatever the environment says.
type service struct {
	tables *dynamodb.Client
	driver *Driver
}

func start(t testing.TB) *service {
	t.Helper()
	endpoint := eventsourcetest.Moto(t)
	who := credentials.NewStaticCredentialsProvider("k", "s", "")
	// moto closes connections that the client would use again; a request that is then sent twice is done twice.
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	s := &service{driver: New(), tables: dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint, Region: "eu-west-1", Credentials: who, HTTPClient: once})}
	s.driver.clients.Put("eu-west-1", dynamodbstreams.New(dynamodbstreams.Options{BaseEndpoint: &endpoint, Region: "eu-west-1", Credentials: who}))
	return s
}

// table makes a table with a stream, and returns the stream's ARN.
func (s *service) table(t testing.TB, view tables.StreamViewType) string {
	t.Helper()
	name := aws.String("t" + uuid.NewString()[:8])
	_, err := s.tables.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: name, BillingMode: tables.BillingModePayPerRequest,
		AttributeDefinitions: []tables.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: tables.ScalarAttributeTypeS}},
		KeySchema:            []tables.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: tables.KeyTypeHash}},
		StreamSpecification:  &tables.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: view},
	})
	// The client asks again when moto closes a connection under its request, which moto had done.
	if err != nil && !errors.As(err, new(*tables.ResourceInUseException)) {
		t.Fatal(err)
	}
	out, err := s.tables.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: name})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Table.LatestStreamArn)
}

func (s *service) put(t testing.TB, arn string, item map[string]tables.AttributeValue) {
	t.Helper()
	table := strings.Split(arn, "/")[1]
	if _, err := s.tables.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		t.Fatal(err)
	}
}

func text(s string) tables.AttributeValue { return &tables.AttributeValueMemberS{Value: s} }

func mapping(arn string) *eventsource.Mapping {
	return &eventsource.Mapping{ID: eventsource.ID(uuid.NewString()), Kind: eventsource.DynamoDB, Source: eventsource.Origin{ARN: arn}}
}

func (s *service) read(t testing.TB, arn string, from eventsource.Start, n int) (*eventsource.Source, []*eventsource.Record) {
	t.Helper()
	src, err := s.driver.Open(t.Context(), mapping(arn), eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := src.Stream.Shards(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r, err := src.Stream.Read(t.Context(), list[0].ID, from)
	if err != nil {
		t.Fatal(err)
	}
	return src, eventsourcetest.Next(t, r, n)
}

// S-076: the event, with all four views.
func TestEvent(t *testing.T) {
	t.Parallel()
	s := start(t)
	for view, members := range map[tables.StreamViewType][2]bool{ // has new, has old
		tables.StreamViewTypeNewAndOldImages: {true, true}, tables.StreamViewTypeNewImage: {true, false},
		tables.StreamViewTypeOldImage: {false, true}, tables.StreamViewTypeKeysOnly: {false, false},
	} {
		arn := s.table(t, view)
		s.put(t, arn, map[string]tables.AttributeValue{"id": text("1"), "b": &tables.AttributeValueMemberB{Value: []byte("foo")}})
		s.put(t, arn, map[string]tables.AttributeValue{"id": text("1"), "n": &tables.AttributeValueMemberN{Value: "1.50"}})
		_, all := s.read(t, arn, eventsource.Start{At: eventsource.TrimHorizon}, 2)
		eventsourcetest.AsTaken(t, eventsource.DynamoDB, all...)
		var e struct {
			EventID, EventName, EventSource, EventVersion, AwsRegion, EventSourceARN string
			DynamoDB                                                                 struct {
				ApproximateCreationDateTime int64
				Keys, NewImage, OldImage    map[string]map[string]string
				SequenceNumber              string
				StreamViewType              string
			}
		}
		if err := json.Unmarshal(all[1].Event, &e); err != nil {
			t.Fatalf("%s: %v", all[1].Event, err)
		}
		d := e.DynamoDB
		if e.EventName != "MODIFY" || e.EventSource != "aws:dynamodb" || e.AwsRegion != "eu-west-1" || e.EventSourceARN != arn || e.EventID == "" ||
			d.Keys["id"]["S"] != "1" || d.SequenceNumber != all[1].Position || d.StreamViewType != string(view) || d.ApproximateCreationDateTime == 0 {
			t.Errorf("%s: %s", view, all[1].Event)
		}
		if got := [2]bool{d.NewImage["n"]["N"] == "1.50", d.OldImage["b"]["B"] == "Zm9v"}; got != members {
			t.Errorf("%s: new and old are %v, want %v: %s", view, got, members, all[1].Event)
		}
		if all[0].Key != all[1].Key || all[0].Key == "" {
			t.Errorf("keys %q and %q", all[0].Key, all[1].Key)
		}
	}
}

// S-077: a deletion by time to live has userIdentity. Every type of attribute is written as the service does.
func TestRecord(t *testing.T) {
	t.Parallel()
	f := &fetcher{stream: &stream{m: mapping("arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/1")}, shard: "s"}
	got := f.record(&types.Record{
		EventID: aws.String("f0"), EventName: types.OperationTypeRemove, EventVersion: aws.String("1.1"),
		UserIdentity: &types.Identity{PrincipalId: aws.String("dynamodb.amazonaws.com"), Type: aws.String("Service")},
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Unix(1763629000, 0)), SequenceNumber: aws.String("111"), SizeBytes: aws.Int64(26),
			StreamViewType: types.StreamViewTypeOldImage, Keys: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "<1>"}},
			OldImage: map[string]types.AttributeValue{
				"a": &types.AttributeValueMemberNULL{Value: true}, "b": &types.AttributeValueMemberBOOL{Value: false}, "c": &types.AttributeValueMemberSS{Value: []string{"x"}},
				"d": &types.AttributeValueMemberNS{Value: []string{"1"}}, "e": &types.AttributeValueMemberBS{Value: [][]byte{{1}}},
				"f": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{}}},
			},
		},
	})
	want := `{"eventID":"f0","eventName":"REMOVE","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1",` +
		`"dynamodb":{"ApproximateCreationDateTime":1763629000,"Keys":{"id":{"S":"<1>"}},"OldImage":{"a":{"NULL":true},"b":{"BOOL":false},"c":{"SS":["x"]},` +
		`"d":{"NS":["1"]},"e":{"BS":["AQ=="]},"f":{"L":[{"M":{}}]}},"SequenceNumber":"111","SizeBytes":26,"StreamViewType":"OLD_IMAGE"},` +
		`"userIdentity":{"principalId":"dynamodb.amazonaws.com","type":"Service"},` +
		`"eventSourceARN":"arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/1"}`
	if string(got.Event) != want {
		t.Errorf("event\n got %s\nwant %s", got.Event, want)
	}
	member, info := f.info([]*eventsource.Record{got}) // S-079
	if want := `{"shardId":"s","startSequenceNumber":"111","endSequenceNumber":"111","approximateArrivalOfFirstRecord":"2025-11-20T08:56:40Z",` +
		`"approximateArrivalOfLastRecord":"2025-11-20T08:56:40Z","batchSize":1,"streamArn":"` + f.m.Source.ARN + `"}`; member != "DDBStreamBatchInfo" || string(info) != want {
		t.Errorf("%s %s", member, info)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	s := start(t)
	none := mapping("arn:aws:dynamodb:eu-west-1:123456789012:table/none/stream/2026-11-20T00:00:00.000")
	var invalid *eventsource.InvalidError
	if err := s.driver.Check(t.Context(), none, eventsource.Facts{}); !errors.As(err, &invalid) || invalid.Message != "Stream not found: "+none.Source.ARN {
		t.Errorf("check: %v", err)
	}
	var p *eventsource.ProblemError
	if _, err := s.driver.Open(t.Context(), none, eventsource.Facts{}); !errors.As(err, &p) || p.Text != "The stream does not exist." {
		t.Errorf("open: %v", err)
	}
}

// S-029, S-081
func TestConformance(t *testing.T) {
	t.Parallel()
	s := start(t)
	eventsourcetest.Run(t, eventsourcetest.Fixture{
		Driver:  s.driver,
		New:     func(t testing.TB) *eventsource.Mapping { return mapping(s.table(t, tables.StreamViewTypeNewImage)) },
		Pattern: `{"eventName":["INSERT"],"dynamodb":{"NewImage":{"pass":{"BOOL":[true]}}}}`,
		Put: func(t testing.TB, m *eventsource.Mapping, _ string, bodies ...string) {
			for _, b := range bodies {
				var d struct{ Pass bool }
				if err := json.Unmarshal([]byte(b), &d); err != nil {
					t.Fatal(err)
				}
				s.put(t, m.Source.ARN, map[string]tables.AttributeValue{"id": text(uuid.NewString()), "body": text(b), "pass": &tables.AttributeValueMemberBOOL{Value: d.Pass}})
			}
		},
		Seen: func(t testing.TB, event []byte) (all []eventsourcetest.Seen) {
			var e struct {
				Records []struct {
					DynamoDB struct {
						SequenceNumber string
						NewImage       struct{ Body struct{ S string } }
					}
				}
			}
			if err := json.Unmarshal(event, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.Records {
				id, err := json.Marshal(r.DynamoDB.SequenceNumber)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, eventsourcetest.Seen{Body: r.DynamoDB.NewImage.Body.S, ID: id})
			}
			return all
		},
	})
}
