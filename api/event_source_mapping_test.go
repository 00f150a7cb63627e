package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/api"
	"thaw/eventsource"
	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/poller"
	"thaw/internal/golden"
)

// sourcesOf makes sources in memory as they are asked for. Those whose names contain "none" are not there.
type sourcesOf struct{ *eventsourcetest.Memory }

func (d sourcesOf) Check(_ context.Context, m *eventsource.Mapping, _ eventsource.Facts) error {
	if strings.Contains(m.Source.ARN, "none") {
		return &eventsource.InvalidError{Message: "Stream not found: " + m.Source.ARN}
	}
	return nil
}

func (d sourcesOf) Open(ctx context.Context, m *eventsource.Mapping, f eventsource.Facts) (*eventsource.Source, error) {
	if eventsource.TraitsOf(m.Kind).IsQueue(m) {
		d.MakeQueue(m.Source.ARN)
	} else {
		d.MakeStream(m.Source.ARN, 1)
	}
	return d.Memory.Open(ctx, m, f)
}

type brokers map[string]string

func (b brokers) Endpoint(arn string) (string, bool) { at, ok := b[arn]; return at, ok }

// withSources has a world run event source mappings.
func (w *world) withSources() *poller.Service {
	w.t.Helper()
	store, drivers := eventsourcetest.NewStore().Server(), map[eventsource.Kind]eventsource.Driver{}
	for _, k := range eventsource.Kinds {
		drivers[k] = sourcesOf{eventsourcetest.NewMemory()}
	}
	s, err := poller.Open(w.t.Context(), poller.Options{Records: store, Checkpoints: store, Leases: store, Drivers: drivers, Invoker: w.server.Plane.Invoker(), View: w.server.Plane.View(),
		Sender: nil, Metrics: eventsourcetest.NoMetrics{}, Log: slog.New(slog.DiscardHandler),
		Endpoints: brokers{"arn:aws:mq:eu-west-1:000000000000:broker:rabbit:b-1": "amqps://h", "arn:aws:mq:eu-west-1:000000000000:broker:active:b-1": "amqp+ssl://h"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close(context.Background()) })
	w.server.Sources = s
	return s
}

// sendMapping sends one request, and returns the status and the body with what differs from run to run made equal.
func (w *world) sendMapping(method, path, body string) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=k/20261120/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("X-Amzn-Errortype"), b)
}

var unequal = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"}, {regexp.MustCompile(`"LastModified":[0-9.e+]+`), `"LastModified":TIME`},
}

// C-013, C-128, C-129, C-130, S-002, S-003, S-024, S-025, S-042, S-047, S-048, S-078, S-084: what each kind answers, and refuses.
func TestEventSourceMappings(t *testing.T) {
	w := newWorld(t)
	w.create("fn")
	w.active("fn")
	w.withSources()
	var out strings.Builder
	for _, c := range []struct{ name, body string }{
		{"a queue", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q"}`},
		{"a queue again", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q"}`},
		{"a queue with everything", `{"FunctionName":"arn:aws:lambda:eu-west-1:000000000000:function:fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q2","Enabled":false,"BatchSize":100,"MaximumBatchingWindowInSeconds":5,"FunctionResponseTypes":["ReportBatchItemFailures"],"ScalingConfig":{"MaximumConcurrency":7},"FilterCriteria":{"Filters":[{"Pattern":"{\"body\":{\"a\":[1]}}"}]},"Tags":{"a":"b"},"MetricsConfig":{"Metrics":["EventCount"]}}`},
		{"a stream", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/s","StartingPosition":"LATEST","Enabled":false}`},
		{"a stream again", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/s","StartingPosition":"LATEST"}`},
		{"a stream from a time on", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/s2","StartingPosition":"AT_TIMESTAMP","StartingPositionTimestamp":1763629000.5,"Enabled":false,"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sqs:eu-west-1:000000000000:failed"}}}`},
		{"a table", `{"FunctionName":"fn","EventSourceArn":"arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/2026","StartingPosition":"TRIM_HORIZON","Enabled":false,"FilterCriteria":{"Filters":[]}}`},
		{"a table from a time on", `{"FunctionName":"fn","EventSourceArn":"arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/2026","StartingPosition":"AT_TIMESTAMP"}`},
		{"self-managed Kafka", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092","b:9092"]}},"Topics":["orders"],"SourceAccessConfigurations":[{"Type":"BASIC_AUTH","URI":"arn:aws:secretsmanager:eu-west-1:000000000000:secret:k"}],"StartingPosition":"LATEST","Enabled":false}`},
		{"self-managed Kafka again", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092","b:9092"]}},"Topics":["orders"],"SourceAccessConfigurations":[{"Type":"BASIC_AUTH","URI":"arn:aws:secretsmanager:eu-west-1:000000000000:secret:k"}]}`},
		{"a share group of Kafka", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092"]}},"Topics":["jobs"],"SourceAccessConfigurations":[{"Type":"OAUTHBEARER_AUTH","URI":"s"},{"Type":"OAUTHBEARER_AUDIENCE","URI":"urn:kafka"}],"SelfManagedKafkaEventSourceConfig":{"ConsumerGroupId":"g","ConsumptionMode":"Queue"},"MaximumRetryAttempts":1,"FunctionResponseTypes":["ReportBatchItemFailures"],"Enabled":false}`},
		{"MSK in provisioned mode", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kafka:eu-west-1:000000000000:cluster/c/u","Topics":["orders"],"Enabled":false,"ProvisionedPollerConfig":{"MinimumPollers":1,"MaximumPollers":3},"AmazonManagedKafkaEventSourceConfig":{"ConsumerGroupId":"g"},"MaximumRetryAttempts":3,"DestinationConfig":{"OnFailure":{"Destination":"kafka://failed"}}}`},
		{"RabbitMQ", `{"FunctionName":"fn","EventSourceArn":"arn:aws:mq:eu-west-1:000000000000:broker:rabbit:b-1","Queues":["q"],"SourceAccessConfigurations":[{"Type":"BASIC_AUTH","URI":"s"},{"Type":"VIRTUAL_HOST","URI":"/v"}],"Enabled":false}`},
		{"a broker whose address is not known", `{"FunctionName":"fn","EventSourceArn":"arn:aws:mq:eu-west-1:000000000000:broker:other:b-1","Queues":["q"],"SourceAccessConfigurations":[{"Type":"BASIC_AUTH","URI":"s"}]}`},
		{"DocumentDB", `{"FunctionName":"fn","EventSourceArn":"arn:aws:rds:eu-west-1:000000000000:cluster:c","StartingPosition":"LATEST","DocumentDBEventSourceConfig":{"DatabaseName":"d","CollectionName":"c","FullDocument":"UpdateLookup"},"SourceAccessConfigurations":[{"Type":"BASIC_AUTH","URI":"s"}],"Enabled":false}`},

		{"no source", `{"FunctionName":"fn"}`},
		{"no function", `{"FunctionName":"nobody","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3"}`},
		{"no name of a function", `{"EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3"}`},
		{"an alias that is not there", `{"FunctionName":"fn:live","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3"}`},
		{"a stream that is not there", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/none","StartingPosition":"LATEST"}`},
		{"a stream without a position", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/s3"}`},
		{"a stream with a wrong position", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kinesis:eu-west-1:000000000000:stream/s3","StartingPosition":"NOW"}`},
		{"a big batch without a window", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","BatchSize":15}`},
		{"a big batch of a FIFO queue", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3.fifo","BatchSize":15}`},
		{"a batch that is too big", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","BatchSize":10001}`},
		{"a destination of a queue", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sqs:eu-west-1:000000000000:d"}}}`},
		{"a pattern that is none", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","FilterCriteria":{"Filters":[{"Pattern":"None"}]}}`},
		{"two ways to scale", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","ScalingConfig":{"MaximumConcurrency":7},"ProvisionedPollerConfig":{"MinimumPollers":2}}`},
		{"Kafka without access", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092"]}},"Topics":["orders"]}`},
		{"Kafka that reads what it writes", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kafka:eu-west-1:000000000000:cluster/c/u2","Topics":["orders"],"ProvisionedPollerConfig":{"MinimumPollers":1},"DestinationConfig":{"OnFailure":{"Destination":"kafka://orders"}}}`},
		{"a share group with a position", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092"]}},"Topics":["more"],"SourceAccessConfigurations":[{"Type":"IAM_AUTH"}],"SelfManagedKafkaEventSourceConfig":{"ConsumptionMode":"Queue"},"StartingPosition":"LATEST"}`},
		{"a share group of MSK", `{"FunctionName":"fn","EventSourceArn":"arn:aws:kafka:eu-west-1:000000000000:cluster/c/u3","Topics":["orders"],"AmazonManagedKafkaEventSourceConfig":{"ConsumptionMode":"Queue"}}`},
		{"an audience without a login", `{"FunctionName":"fn","SelfManagedEventSource":{"Endpoints":{"KAFKA_BOOTSTRAP_SERVERS":["a:9092"]}},"Topics":["more"],"SourceAccessConfigurations":[{"Type":"OAUTHBEARER_AUDIENCE","URI":"urn:kafka"}]}`},
		{"retries of a queue", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","MaximumRetryAttempts":2}`},
		{"a key for filters", `{"FunctionName":"fn","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q3","KMSKeyArn":"arn:aws:kms:eu-west-1:000000000000:key/k"}`},
	} {
		fmt.Fprintf(&out, "# %s\n%s\n%s\n", c.name, c.body, w.sendMapping(http.MethodPost, "/2015-03-31/event-source-mappings", c.body))
	}
	text := out.String()
	for _, u := range unequal {
		text = u.what.ReplaceAllString(text, u.with)
	}
	golden.Equal(t, "testdata/event_source_mappings.golden", text)
}

// C-127: a mapping through AWS's SDK, from its creation to its deletion, with what can be changed and its tags.
func TestLifeOfAMapping(t *testing.T) {
	w := newWorld(t)
	w.create("fn")
	w.active("fn")
	w.withSources()
	ctx := t.Context()
	made, err := w.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("fn"), EventSourceArn: aws.String("arn:aws:sqs:eu-west-1:000000000000:q"),
		Tags: map[string]string{"a": "b"}})
	if err != nil || *made.State != "Creating" {
		t.Fatalf("%v, %v", made, err)
	}
	state := func(want string) *lambda.GetEventSourceMappingOutput {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			got, err := w.client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: made.UUID})
			if want == "" && errors.As(err, new(*types.ResourceNotFoundException)) {
				return nil
			}
			if err != nil {
				t.Fatal(err)
			}
			if *got.State == want {
				return got
			}
			if time.Now().After(end) {
				t.Fatalf("state %s, want %s", *got.State, want)
			}
		}
	}
	state("Enabled")
	pattern := `{"body":{"a":[1]}}`
	changed, err := w.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: made.UUID, BatchSize: aws.Int32(7),
		FilterCriteria: &types.FilterCriteria{Filters: []types.Filter{{Pattern: &pattern}}}})
	if err != nil || *changed.State != "Updating" || *changed.BatchSize != 7 {
		t.Fatalf("%+v, %v", changed, err)
	}
	if got := state("Enabled"); *got.BatchSize != 7 || len(got.FilterCriteria.Filters) != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := w.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: made.UUID, BatchSize: aws.Int32(15)}); !errors.As(err, new(*types.InvalidParameterValueException)) {
		t.Errorf("a batch without a window: %v", err)
	}
	if changed, err = w.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: made.UUID, Enabled: aws.Bool(false), FilterCriteria: &types.FilterCriteria{}}); err != nil ||
		*changed.State != "Disabling" || changed.FilterCriteria != nil {
		t.Errorf("%+v, %v", changed, err)
	}
	state("Disabled")
	if changed, err = w.client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: made.UUID, BatchSize: aws.Int32(3)}); err != nil || *changed.State != "Updating" {
		t.Errorf("%+v, %v", changed, err)
	}
	if got := state("Disabled"); *got.BatchSize != 3 {
		t.Errorf("%+v", got)
	}
	if _, err := w.client.TagResource(ctx, &lambda.TagResourceInput{Resource: made.EventSourceMappingArn, Tags: map[string]string{"c": "d"}}); err != nil {
		t.Error(err)
	}
	if _, err := w.client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: made.EventSourceMappingArn, TagKeys: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if tags, err := w.client.ListTags(ctx, &lambda.ListTagsInput{Resource: made.EventSourceMappingArn}); err != nil || len(tags.Tags) != 1 || tags.Tags["c"] != "d" {
		t.Errorf("%v, %v", tags, err)
	}
	if gone, err := w.client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: made.UUID}); err != nil || *gone.State != "Deleting" {
		t.Errorf("%+v, %v", gone, err)
	}
	state("")
}

// Lists by source and function, a hundred at a time.
func TestListEventSourceMappings(t *testing.T) {
	w := newWorld(t)
	w.create("fn")
	w.create("other")
	w.active("fn")
	w.active("other")
	w.withSources()
	for i := range 120 {
		name := "fn"
		if i%12 == 0 {
			name = "other"
		}
		if _, err := w.client.CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{FunctionName: &name, Enabled: aws.Bool(false),
			EventSourceArn: aws.String(fmt.Sprintf("arn:aws:sqs:eu-west-1:000000000000:q%d", i))}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		in    lambda.ListEventSourceMappingsInput
		want  int
		pages int
	}{
		{lambda.ListEventSourceMappingsInput{}, 120, 2}, {lambda.ListEventSourceMappingsInput{FunctionName: aws.String("other")}, 10, 1},
		{lambda.ListEventSourceMappingsInput{EventSourceArn: aws.String("arn:aws:sqs:eu-west-1:000000000000:q7")}, 1, 1}, {lambda.ListEventSourceMappingsInput{MaxItems: aws.Int32(50)}, 120, 3},
		{lambda.ListEventSourceMappingsInput{FunctionName: aws.String("nobody")}, 0, 1},
	} {
		seen, pages := map[string]bool{}, 0
		for p := lambda.NewListEventSourceMappingsPaginator(w.client, &c.in); p.HasMorePages(); pages++ {
			page, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.EventSourceMappings {
				seen[*m.UUID] = true
			}
		}
		if len(seen) != c.want || pages != c.pages {
			t.Errorf("%+v: %d mappings on %d pages, want %d on %d", c.in, len(seen), pages, c.want, c.pages)
		}
	}
}

var _ api.Sources = (*poller.Service)(nil)
