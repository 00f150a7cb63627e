package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	tables "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	buckets "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queues "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/childtest"
	"thaw/internal/wholebody"
)

// streams is a server, moto, which stands for all services of AWS that it reads and tells, and a folder in which functions
// write what they saw.
type streams struct {
	*child
	cfg     aws.Config
	out     string
	address string
}

// withMoto starts a server in a process of its own that finds all services of AWS at moto.
func withMoto(t *testing.T) *streams {
	t.Helper()
	endpoint := eventsourcetest.Moto(t)
	dir, out := t.TempDir(), t.TempDir()
	for d := out; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777) //nolint:errcheck // the function's user must get there
	}
	p := childtest.Start(t, "TestServeUntilKilled", "process "+dir, "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s")
	address := p.Line()
	return &streams{
		child: &child{&server{t: t, client: clientOf(address), kind: "process"}, p}, address: address,
		cfg: aws.Config{Region: "eu-west-1", BaseEndpoint: &endpoint, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")}, out: out,
	}
}

// reader makes a function that writes a line for each record (its version and what was put) and each event, and fails on
// what is poisoned.
func (s *streams) reader(t *testing.T, name string) *deployed {
	t.Helper()
	f := &deployed{s.server, name}
	_, err := s.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"), Publish: true,
		Role: aws.String("arn:aws:iam::123456789012:role/r"), Environment: &types.Environment{Variables: map[string]string{"SEEN": filepath.Join(s.out, name)}},
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `const fs = require('fs')
exports.handler = async (e, c) => {
  const bodies = e.Records.map(r => r.body || (r.kinesis ? Buffer.from(r.kinesis.data, 'base64').toString() : r.dynamodb.Keys.id.S))
  fs.appendFileSync(process.env.SEEN + '.events', JSON.stringify(e) + '\n')
  if (bodies.includes('poison')) throw new Error('poison')
  for (const b of bodies) fs.appendFileSync(process.env.SEEN, c.functionVersion + ' ' + b + '\n')
}`})}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait()
	return f
}

// scrape reads the metrics.
func (s *streams) scrape(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + s.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines are what a function has written.
func (s *streams) lines(file string) []string {
	b, _ := os.ReadFile(filepath.Join(s.out, file)) //nolint:errcheck // nothing yet
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// mapping makes a mapping and waits until it is enabled.
func (s *streams) mapping(t *testing.T, in *lambda.CreateEventSourceMappingInput) (id *string) {
	t.Helper()
	m, err := s.client.CreateEventSourceMapping(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the mapping is enabled", func() bool { return aws.ToString(s.get(t, m.UUID).State) == "Enabled" })
	return m.UUID
}

func (s *streams) get(t *testing.T, id *string) *lambda.GetEventSourceMappingOutput {
	t.Helper()
	m, err := s.client.GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: id})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stream makes a stream of Kinesis.
func (s *streams) stream(t *testing.T, name string) (arn *string, put func(body string)) {
	t.Helper()
	client := kinesis.NewFromConfig(s.cfg)
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the stream is active", func() bool {
		out, err := client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &name})
		if err == nil {
			arn = out.StreamDescriptionSummary.StreamARN
		}
		return err == nil && out.StreamDescriptionSummary.StreamStatus == "ACTIVE"
	})
	return arn, func(body string) {
		t.Helper()
		if _, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

// table makes a table of DynamoDB with a stream.
func (s *streams) table(t *testing.T, name string) (arn *string, put func(id string)) {
	t.Helper()
	client := dynamodb.NewFromConfig(s.cfg)
	out, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: tables.BillingModePayPerRequest,
		AttributeDefinitions: []tables.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: tables.ScalarAttributeTypeS}},
		KeySchema:            []tables.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: tables.KeyTypeHash}},
		StreamSpecification:  &tables.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: tables.StreamViewTypeNewImage}})
	if err != nil {
		t.Fatal(err)
	}
	return out.TableDescription.LatestStreamArn, func(id string) {
		t.Helper()
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: map[string]tables.AttributeValue{"id": &tables.AttributeValueMemberS{Value: id}}}); err != nil {
			t.Fatal(err)
		}
	}
}

// Streams and queues that real functions read, with moto for all that is around them.
func TestStreamSources(t *testing.T) {
	t.Parallel()
	s := withMoto(t)
	t.Run("a bucket is told of what was given up", s.testFailuresInBuckets)
	t.Run("a weighted alias is resolved for each batch", s.testWeightedAlias)
	t.Run("a mapping stays when its function is deleted", s.testFunctionDeleted)
	t.Run("what a throttled function was not given reaches it later", s.testThrottledQueue)
}

// S-057, S-058, S-079, S-080: the exact record of section 1.6, with the event, under the key that the service chooses.
func (s *streams) testFailuresInBuckets(t *testing.T) {
	f := s.reader(t, "fails")
	client := s3.NewFromConfig(s.cfg, func(o *s3.Options) { o.UsePathStyle = true })
	for kind, c := range map[string]struct {
		make     func(*testing.T, string) (*string, func(string))
		member   string
		layout   string
		sequence func(record map[string]any) any
	}{
		"kinesis":  {s.stream, "KinesisBatchInfo", "2006-01-02T15:04:05.000Z", func(r map[string]any) any { return r["kinesis"].(map[string]any)["sequenceNumber"] }},
		"dynamodb": {s.table, "DDBStreamBatchInfo", time.RFC3339, func(r map[string]any) any { return r["dynamodb"].(map[string]any)["SequenceNumber"] }},
	} {
		bucket := "failed-" + kind
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &buckets.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
			t.Fatal(err)
		}
		arn, put := c.make(t, "failing-"+kind)
		id := s.mapping(t, &lambda.CreateEventSourceMappingInput{FunctionName: &f.name, EventSourceArn: arn, StartingPosition: types.EventSourcePositionTrimHorizon, MaximumRetryAttempts: aws.Int32(1),
			DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: aws.String("arn:aws:s3:::" + bucket)}}})
		put("poison")
		var key string
		until(t, time.Minute, "the bucket has an object", func() bool {
			list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
			if err != nil || len(list.Contents) == 0 {
				return false
			}
			key = *list.Contents[0].Key
			return true
		})
		object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(object.Body)
		if err != nil {
			t.Fatal(err)
		}
		var told struct {
			RequestContext                       struct{ RequestId string }
			Timestamp                            time.Time
			KinesisBatchInfo, DDBStreamBatchInfo struct {
				ShardId                         string
				ApproximateArrivalOfFirstRecord time.Time
			}
			Payload json.RawMessage
		}
		if err := json.Unmarshal(body, &told); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		info := told.KinesisBatchInfo
		if kind == "dynamodb" {
			info = told.DDBStreamBatchInfo
		}
		var event struct{ Records []map[string]any }
		if err := json.Unmarshal(told.Payload, &event); err != nil || len(event.Records) != 1 {
			t.Fatalf("payload %s (%v)", told.Payload, err)
		}
		sequence, at := c.sequence(event.Records[0]), info.ApproximateArrivalOfFirstRecord.UTC().Format(c.layout)
		want := fmt.Sprintf(`{"requestContext":{"requestId":%q,"functionArn":"arn:aws:lambda:eu-west-1:000000000000:function:fails","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},`+
			`"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"version":"1.0","timestamp":%q,`+
			`%q:{"shardId":%q,"startSequenceNumber":%q,"endSequenceNumber":%q,"approximateArrivalOfFirstRecord":%q,"approximateArrivalOfLastRecord":%q,"batchSize":1,"streamArn":%q},"payload":%s}`,
			told.RequestContext.RequestId, told.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"), c.member, info.ShardId, sequence, sequence, at, at, *arn, told.Payload)
		if string(body) != want {
			t.Errorf("%s: the bucket is told\n%s\nwant\n%s", kind, body, want)
		}
		pattern := `^aws/lambda/` + *id + `/` + regexp.QuoteMeta(info.ShardId) + told.Timestamp.UTC().Format("/2006/01/02/2006-01-02T15.04.05-") + `[0-9a-f-]{36}$`
		if !regexp.MustCompile(pattern).MatchString(key) {
			t.Errorf("the key is %s, want %s", key, pattern)
		}
		if seen := slices.ContainsFunc(s.lines("fails.events"), func(line string) bool {
			var got, payload any
			return json.Unmarshal([]byte(line), &got) == nil && json.Unmarshal(told.Payload, &payload) == nil && reflect.DeepEqual(got, payload)
		}); !seen {
			t.Errorf("no event of the function was %s", told.Payload)
		}
	}
}

// S-009: with weights both versions get batches; without them the next batch goes to the alias's version.
func (s *streams) testWeightedAlias(t *testing.T) {
	f := s.reader(t, "weighted")
	if _, err := s.client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Description: aws.String("two")}); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the change is made", func() bool {
		c, err := s.client.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name})
		return err == nil && c.LastUpdateStatus == types.LastUpdateStatusSuccessful
	})
	if _, err := s.client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	half := &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.5}}
	if _, err := s.client.CreateAlias(t.Context(), &lambda.CreateAliasInput{FunctionName: &f.name, Name: aws.String("live"), FunctionVersion: aws.String("1"), RoutingConfig: half}); err != nil {
		t.Fatal(err)
	}
	arn, put := s.stream(t, "weighted")
	s.mapping(t, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("weighted:live"), EventSourceArn: arn, BatchSize: aws.Int32(1), StartingPosition: types.EventSourcePositionTrimHorizon})
	by := func(version string, bodies ...string) (n int) {
		for _, line := range s.lines(f.name) {
			v, body, _ := strings.Cut(line, " ")
			if v == version && slices.Contains(bodies, body) {
				n++
			}
		}
		return n
	}
	var first, later []string
	for i := range 30 { // that one version gets all of them happens once in a billion runs
		first = append(first, fmt.Sprint("first", i))
		put(first[i])
	}
	until(t, time.Minute, "all batches are seen", func() bool { return by("1", first...)+by("2", first...) == len(first) })
	if one, two := by("1", first...), by("2", first...); one == 0 || two == 0 {
		t.Errorf("version 1 got %d batches, version 2 %d", one, two)
	}
	if _, err := s.client.UpdateAlias(t.Context(), &lambda.UpdateAliasInput{FunctionName: &f.name, Name: aws.String("live"), FunctionVersion: aws.String("2"), RoutingConfig: &types.AliasRoutingConfiguration{}}); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		later = append(later, fmt.Sprint("later", i))
		put(later[i])
	}
	until(t, time.Minute, "version 2 sees all that comes later", func() bool { return by("2", later...) == len(later) })
}

// C-050, S-010: the mapping is there, says what is missing, and goes on behind what was seen with the next function of that
// name.
func (s *streams) testFunctionDeleted(t *testing.T) {
	f := s.reader(t, "deleted")
	arn, put := s.table(t, "deleted")
	id := s.mapping(t, &lambda.CreateEventSourceMappingInput{FunctionName: &f.name, EventSourceArn: arn, StartingPosition: types.EventSourcePositionTrimHorizon})
	put("before")
	until(t, time.Minute, "it is seen", func() bool { return slices.Contains(s.lines(f.name), "$LATEST before") })
	until(t, time.Minute, "the metrics say that nothing waits", func() bool {
		all := s.scrape(t)
		return strings.Contains(all, `thaw_source_behind_seconds{function="deleted",mapping="`+*id+`",region="eu-west-1"} 0`) &&
			strings.Contains(all, `thaw_source_lag_records{function="deleted",mapping="`+*id+`",region="eu-west-1"} 0`) &&
			strings.Contains(all, `thaw_lambda_iterator_age_seconds_count{function="deleted",mapping="`+*id+`",region="eu-west-1"} 1`)
	})
	if _, err := s.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name}); err != nil {
		t.Fatal(err)
	}
	put("meanwhile")
	until(t, time.Minute, "the mapping says so", func() bool {
		return strings.Contains(aws.ToString(s.get(t, id).LastProcessingResult), "Function does not exist")
	})
	list, err := s.client.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{EventSourceArn: arn})
	if err != nil || len(list.EventSourceMappings) != 1 || *list.EventSourceMappings[0].State != "Enabled" {
		t.Errorf("mappings of the source: %+v, %v", list, err)
	}
	s.reader(t, f.name)
	until(t, time.Minute, "the new function is given it", func() bool { return slices.Contains(s.lines(f.name), "$LATEST meanwhile") })
	if n := len(s.lines(f.name)); n != 2 {
		t.Errorf("seen: %v", s.lines(f.name))
	}
}

// S-050: a queue whose function has no concurrency keeps all of its messages.
func (s *streams) testThrottledQueue(t *testing.T) {
	f := s.reader(t, "throttled")
	if _, err := s.client.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: aws.Int32(0)}); err != nil {
		t.Fatal(err)
	}
	client := sqs.NewFromConfig(s.cfg)
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("throttled"), Attributes: map[string]string{"VisibilityTimeout": "3"}})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 10 {
		body := fmt.Sprint("m", i)
		want = append(want, "$LATEST "+body)
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	s.mapping(t, &lambda.CreateEventSourceMappingInput{FunctionName: &f.name, EventSourceArn: aws.String("arn:aws:sqs:eu-west-1:123456789012:throttled")})
	attribute := func(name queues.QueueAttributeName) string {
		out, err := client.GetQueueAttributes(context.Background(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []queues.QueueAttributeName{name}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes[string(name)]
	}
	until(t, time.Minute, "messages are received", func() bool { return attribute(queues.QueueAttributeNameApproximateNumberOfMessagesNotVisible) != "0" })
	if got := s.lines(f.name); len(got) > 1 || got[0] != "" {
		t.Errorf("a function without concurrency has seen %v", got)
	}
	if _, err := s.client.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: &f.name, ReservedConcurrentExecutions: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "all messages are seen", func() bool {
		got := s.lines(f.name)
		return !slices.ContainsFunc(want, func(line string) bool { return !slices.Contains(got, line) })
	})
	until(t, time.Minute, "the queue is empty", func() bool {
		return attribute(queues.QueueAttributeNameApproximateNumberOfMessages) == "0" && attribute(queues.QueueAttributeNameApproximateNumberOfMessagesNotVisible) == "0"
	})
}
