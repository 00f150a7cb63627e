package dynamodb

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
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
	"thaw/internal/wholebody"
)

func TestMain(m *testing.M) {
	pace = shards.Pace{Base: 50 * time.Millisecond, Idle: 100 * time.Millisecond}
	eventsourcetest.Main(m)
}

// service is a server that stands for DynamoDB, with a client of tables, and a driver that goes to it, whatever the
// environment says.
type service struct {
	tables *dynamodb.Client
	driver *Driver
}

// servers are all that are known. Each is started by the first test that asks for it.
var servers = map[string]func(testing.TB) *service{
	"moto": func(t testing.TB) *service { return serviceAt(eventsourcetest.Moto(t), "") },
	"ministack": func(t testing.TB) *service {
		endpoint, root := eventsourcetest.Ministack(t)
		return serviceAt(endpoint, root)
	},
}

func serviceAt(endpoint, root string) *service {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	// moto closes connections that the client would use again; a request that is then sent twice is done twice.
	once := wholebody.Client(&http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}})
	cfg := aws.Config{BaseEndpoint: &endpoint, Region: "eu-west-1", HTTPClient: once, Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")}
	s := &service{driver: New(), tables: dynamodb.NewFromConfig(cfg)}
	s.driver.clients.Put("eu-west-1", dynamodbstreams.NewFromConfig(cfg))
	return s
}

// each runs a test with every server.
func each(t *testing.T, test func(t *testing.T, s *service)) {
	t.Parallel()
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
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

func (s *service) remove(t testing.TB, arn, id string) {
	t.Helper()
	table := strings.Split(arn, "/")[1]
	if _, err := s.tables.DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: &table, Key: map[string]tables.AttributeValue{"id": text(id)}}); err != nil {
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
func TestEvent(t *testing.T) { each(t, testEvent) }

func testEvent(t *testing.T, s *service) {
	for view, members := range map[tables.StreamViewType][2]bool{ // has new, has old
		tables.StreamViewTypeNewAndOldImages: {true, true}, tables.StreamViewTypeNewImage: {true, false},
		tables.StreamViewTypeOldImage: {false, true}, tables.StreamViewTypeKeysOnly: {false, false},
	} {
		arn := s.table(t, view)
		s.put(t, arn, map[string]tables.AttributeValue{"id": text("1"), "b": &tables.AttributeValueMemberB{Value: []byte("foo")}})
		s.put(t, arn, map[string]tables.AttributeValue{"id": text("1"), "n": &tables.AttributeValueMemberN{Value: "1.5"}})
		s.remove(t, arn, "1")
		_, all := s.read(t, arn, eventsource.Start{At: eventsource.TrimHorizon}, 3)
		if e := all[2].Event; !bytes.Contains(e, []byte(`"eventName":"REMOVE"`)) || bytes.Contains(e, []byte(`"NewImage"`)) ||
			bytes.Contains(e, []byte(`"OldImage":{"id":{"S":"1"},"n":{"N":"1.5"}}`)) != members[1] {
			t.Errorf("%s: a deletion is %s", view, e)
		}
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
		if got := [2]bool{d.NewImage["n"]["N"] == "1.5", d.OldImage["b"]["B"] == "Zm9v"}; got != members {
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

func TestProblems(t *testing.T) { each(t, testProblems) }

func testProblems(t *testing.T, s *service) {
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

// TRIM_HORIZON, and LATEST from the moment in which the mapping began, whenever it is read.
func TestBeginnings(t *testing.T) { each(t, testBeginnings) }

func testBeginnings(t *testing.T, s *service) {
	arn := s.table(t, tables.StreamViewTypeNewImage)
	s.put(t, arn, map[string]tables.AttributeValue{"id": text("old")})
	time.Sleep(1100 * time.Millisecond) // streams count times in seconds
	begun := time.Now()
	src, err := s.driver.Open(t.Context(), mapping(arn), eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := src.Stream.Shards(t.Context())
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	read := func(from eventsource.Start) eventsource.Reader {
		r, err := src.Stream.Read(t.Context(), list[0].ID, from)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	latest := read(eventsource.Start{At: eventsource.Latest, Time: begun})
	eventsourcetest.Until(t, "the reader has its iterator, and has had an answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if all, err := latest.Next(ctx, 1); len(all) > 0 {
			t.Errorf("LATEST begins with %s (%v)", all[0].Event, err)
		}
		return latest.(*shards.Reader).Behind() >= 0
	})
	s.put(t, arn, map[string]tables.AttributeValue{"id": text("new")})
	eventsourcetest.Until(t, "a reader of this beginning counts as a later one", func() bool { return time.Since(begun) > soon })
	for _, c := range []struct {
		name   string
		reader eventsource.Reader
		first  string
	}{
		{"TRIM_HORIZON", read(eventsource.Start{At: eventsource.TrimHorizon}), "old"},
		{"LATEST", latest, "new"},
		{"LATEST, read again after a death", read(eventsource.Start{At: eventsource.Latest, Time: begun}), "new"},
	} {
		if one := eventsourcetest.Next(t, c.reader, 1)[0]; one.Key != `{"id":{"S":"`+c.first+`"}}` {
			t.Errorf("%s begins with %s, want %s", c.name, one.Key, c.first)
		}
	}
}

// A stream that was disabled is read to its end. moto's shards never close.
func TestDisabledStream(t *testing.T) {
	t.Parallel()
	s := servers["ministack"](t)
	arn := s.table(t, tables.StreamViewTypeNewImage)
	s.put(t, arn, map[string]tables.AttributeValue{"id": text("1")})
	table := strings.Split(arn, "/")[1]
	if _, err := s.tables.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: &table, StreamSpecification: &tables.StreamSpecification{StreamEnabled: aws.Bool(false)}}); err != nil {
		t.Fatal(err)
	}
	src, err := s.driver.Open(t.Context(), mapping(arn), eventsource.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := src.Stream.Shards(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r, err := src.Stream.Read(t.Context(), list[0].ID, eventsource.Start{At: eventsource.TrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	eventsourcetest.Next(t, r, 1)
	if _, err := r.Next(t.Context(), 1); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last record: %v", err)
	}
}

// S-029, S-081
func TestConformance(t *testing.T) { each(t, testConformance) }

func testConformance(t *testing.T, s *service) {
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

// The service does not say how far behind an answer is: a full one is as far as its last record is old.
func TestBehind(t *testing.T) {
	t.Parallel()
	hour := func(n int, size int64) (page []types.Record) {
		for range n {
			page = append(page, types.Record{Dynamodb: &types.StreamRecord{SizeBytes: &size, ApproximateCreationDateTime: aws.Time(time.Now().Add(-time.Hour))}})
		}
		return page
	}
	for name, c := range map[string]struct {
		page []types.Record
		far  bool
	}{"nothing": {nil, false}, "a few": {hour(3, 100), false}, "as many as may be": {hour(10, 100), true}, "as much as may be": {hour(3, 400<<10), true}} {
		if got := behind(c.page, 10); c.far != (got >= time.Hour) || !c.far && got != 0 {
			t.Errorf("%s: behind %v", name, got)
		}
	}
}
