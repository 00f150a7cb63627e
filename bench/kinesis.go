package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/eventsource/eventsourcetest/kinesistest"
	"thaw/internal/wholebody"
)

// stream is one of Kinesis with one shard, and how it is written and read.
type stream struct {
	client *kinesis.Client
	arn    string
	source string // that, or its consumer
	name   string // of the way it is read
	puts   int
	gap    time.Duration       // between a record that was seen and the next one, at most
	aim    float64             // ms
	server *kinesistest.Server // nil: moto
	end    func()
}

// startPolled starts moto, whose stream is polled.
func startPolled(ctx context.Context) (*brokers, error) {
	b := &brokers{stage: eventsourcetest.NewStage(ctx)}
	var endpoint string
	if err := b.stage.Do(func(t *eventsourcetest.Stage) { endpoint = eventsourcetest.Moto(t) }); err != nil {
		b.end()
		return nil, fmt.Errorf("server of streams: %w", err)
	}
	s := &stream{name: "Kinesis, polled each second: put to start of handler", puts: 30, gap: time.Second, aim: 1100}
	// moto closes connections that the client would use again.
	s.client = streams(endpoint, awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true }))
	b.stream, b.env = s, []string{"AWS_ENDPOINT_URL_KINESIS=" + endpoint}
	name := fmt.Sprintf("bench-%d", time.Now().UnixNano()) // moto is one for all tables
	if _, err := s.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)}); err != nil {
		b.end()
		return nil, err
	}
	for ctx.Err() == nil {
		out, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
		if err == nil && out.StreamDescriptionSummary.StreamStatus == kinesistypes.StreamStatusActive {
			s.arn = *out.StreamDescriptionSummary.StreamARN
			s.source = s.arn
			return b, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.end()
	return nil, ctx.Err()
}

// startPushed starts a server whose subscriptions get records at once, over HTTP/2 and TLS. Of those that can be had,
// ministack looks for records five times a second and kinesis-local once, which would be what is measured.
func startPushed(ctx context.Context) (*brokers, error) {
	dir, err := os.MkdirTemp("", "thaw-bench-root-")
	if err != nil {
		return nil, err
	}
	server := kinesistest.Start()
	one := server.Stream(1)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(server.Root))
	s := &stream{name: "Kinesis, enhanced fan-out: put to start of handler", puts: 200, gap: 40 * time.Millisecond, aim: 70, arn: one.ARN, source: one.ConsumerARN, server: server,
		client: streams(server.URL, awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.RootCAs = roots })),
		end: func() {
			server.Close()
			os.RemoveAll(dir) //nolint:errcheck // in the folder for such things
		}}
	root := filepath.Join(dir, "root.pem")
	b := &brokers{stage: eventsourcetest.NewStage(ctx), stream: s, env: []string{"AWS_ENDPOINT_URL_KINESIS=" + server.URL, "AWS_CA_BUNDLE=" + root}}
	if err := os.WriteFile(root, []byte(server.Root), 0o600); err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

func streams(endpoint string, c aws.HTTPClient) *kinesis.Client {
	return kinesis.New(kinesis.Options{BaseEndpoint: &endpoint, Region: region, HTTPClient: wholebody.Client(c), Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")})
}

// streamNode notes how long after its writing each record began to be handled, and tells it who asks.
const streamNode = `const began = [];
exports.handler = async (e) => {
  if (e.report) return began;
  const now = performance.timeOrigin + performance.now();
  for (const r of e.Records) began.push(now - JSON.parse(Buffer.from(r.kinesis.data, 'base64')).sent);
};
`

// measureStream writes records, at any moment of a poll, and asks the function when each of them came.
func measureStream(ctx context.Context, _ options, s *server) ([]result, error) {
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	const name = "streams"
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(streamNode)); err != nil {
		return nil, err
	}
	// One environment: what another one saw would not be told.
	if _, err := s.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(name), ReservedConcurrentExecutions: aws.Int32(1)}); err != nil {
		return nil, err
	}
	st := s.brokers.stream
	m, err := s.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String(name), EventSourceArn: &st.source, StartingPosition: types.EventSourcePositionTrimHorizon})
	if err != nil {
		return nil, err
	}
	if err := s.settled(ctx, m.UUID, "Enabled"); err != nil {
		return nil, err
	}
	var took []float64
	for n := range st.puts + 1 {
		at := float64(time.Now().UnixMicro()) / 1000
		if _, err := st.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamARN: &st.arn, PartitionKey: aws.String("k"), Data: fmt.Appendf(nil, `{"sent":%.3f}`, at)}); err != nil {
			return nil, err
		}
		err := s.until(ctx, "handled", time.Minute, func() (bool, error) {
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return false, err
			}
			done, err := s.counted(ctx, "invoked_events_total", *m.UUID)
			return done > float64(n), err
		})
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, rand.N(st.gap)); err != nil {
			return nil, err
		}
	}
	out, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: []byte(`{"report":true}`)})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out.Payload, &took); err != nil || len(took) != st.puts+1 {
		return nil, fmt.Errorf("of %d records the environment tells %d: %s (%v)", st.puts+1, len(took), out.Payload, err)
	}
	took = took[1:] // the environment began with the first
	return []result{
		{what: st.name + ", p50", value: median(took), unit: "ms", aim: st.aim},
		{what: st.name + ", p99", value: quantile(took, 0.99), unit: "ms"},
	}, nil
}
