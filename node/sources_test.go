package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/childtest"
)

// With kill -9 at any moment every message of a queue is seen by a real function, those of a group of a FIFO queue in
// order, and again only as at-least-once allows; what the function did is counted in a file that it writes. The mapping
// names an alias. (THAW_TEST_KILLS is how many kills there are.)
func TestKillsLoseNoMessage(t *testing.T) {
	t.Parallel()
	kills := 3
	if n, err := strconv.Atoi(os.Getenv("THAW_TEST_KILLS")); err == nil {
		kills = n
	}
	endpoint, broker := eventsourcetest.ElasticMQ(t)
	t.Cleanup(broker.Kill)
	ctx := t.Context()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("eu-west-1"), config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("k", "s", "")))
	if err != nil {
		t.Fatal(err)
	}
	queues := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = &endpoint })
	dir, out := t.TempDir(), t.TempDir()
	for d := out; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777) //nolint:errcheck // the function's user must get there
	}
	start := func() *child {
		p := childtest.Start(t, "TestServeUntilKilled", "process "+dir, "AWS_ENDPOINT_URL_SQS="+endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s")
		return &child{&server{t: t, client: clientOf(p.Line()), kind: "process"}, p}
	}
	c := start()
	f := &deployed{c.server, "reads"}
	_, err = c.client.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &f.name, Runtime: types.Runtime(nodeRuntime(t)), Handler: aws.String("index.handler"), Publish: true,
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Environment: &types.Environment{Variables: map[string]string{"SEEN": out}},
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.js": `exports.handler = async (e, c) => { for (const r of e.Records) require('fs').appendFileSync(process.env.SEEN + '/' + r.eventSourceARN.split(':')[5], r.body + '\n') }`})}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait()
	if _, err := c.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &f.name, Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	names := map[string]map[string]string{"plain": {"VisibilityTimeout": "5"}, "ordered.fifo": {"VisibilityTimeout": "5", "FifoQueue": "true", "ContentBasedDeduplication": "true"}}
	urls, mappings := map[string]*string{}, map[string]*string{}
	for name, attributes := range names {
		q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("reads:live"), EventSourceArn: aws.String("arn:aws:sqs:eu-west-1:123456789012:" + name)})
		if err != nil {
			t.Fatal(err)
		}
		urls[name], mappings[name] = q.QueueUrl, m.UUID
	}
	sent := map[string][]string{}
	seen := func(name string) (all []string) {
		b, _ := os.ReadFile(filepath.Join(out, name)) //nolint:errcheck // nothing yet
		return strings.Fields(string(b))
	}
	all := func() bool {
		for name, want := range sent {
			got := seen(name)
			for _, body := range want {
				if !slices.Contains(got, body) {
					return false
				}
			}
		}
		return true
	}
	for round := range kills + 1 {
		before := len(seen("plain"))
		for i := range 20 {
			for name, url := range urls {
				group := string(rune('a' + i%3))
				body := fmt.Sprintf("%s-%d-%d", group, round, i)
				in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body}
				if strings.HasSuffix(name, ".fifo") {
					in.MessageGroupId = &group
				}
				if _, err := queues.SendMessage(ctx, in); err != nil {
					t.Fatal(err)
				}
				sent[name] = append(sent[name], body)
			}
		}
		if round == kills {
			break
		}
		until(t, time.Minute, "some of it is seen", func() bool { return len(seen("plain")) > before+round })
		c.Kill()
		c = start()
	}
	until(t, 2*time.Minute, "everything is seen", all)
	for name, want := range sent {
		var first []string
		for _, body := range seen(name) {
			if !slices.Contains(first, body) {
				first = append(first, body)
			}
		}
		t.Logf("%s: %d kills, %d sent, 0 lost, %d seen again", name, kills, len(want), len(seen(name))-len(want))
		for _, group := range []string{"a-", "b-", "c-"} {
			of := func(all []string) []string {
				return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, group) })
			}
			if strings.HasSuffix(name, ".fifo") && !slices.Equal(of(first), of(want)) {
				t.Errorf("group %s was seen as\n%v\nwant\n%v", group, of(first), of(want))
			}
		}
	}
	for _, id := range mappings {
		m, err := c.client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: id})
		if err != nil || aws.ToString(m.State) != "Enabled" || !strings.HasSuffix(aws.ToString(m.FunctionArn), ":reads:live") || m.LastProcessingResult != nil {
			t.Errorf("%+v, %v", m, err)
		}
	}
}
