package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	tables "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

// What TestKillsLoseNoRecord holds of other sources, of Kinesis and DynamoDB: a stream that is polled, with two batches of
// each shard in flight, a consumer of enhanced fan-out, and a table. S-054, S-068.
// (THAW_TEST_KILLS is how many kills there are. With it there is a stream, too, whose shards are split and merged meanwhile.)
func TestKillsLoseNoStreamRecord(t *testing.T) {
	t.Parallel()
	kills, long := killsAsked()
	endpoint, root := eventsourcetest.Ministack(t)
	bundle := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(bundle, []byte(root), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root))
	k := &kinesisFeeds{t: t, env: []string{"AWS_CA_BUNDLE=" + bundle, "AWS_ENDPOINT_URL_KINESIS=" + endpoint, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS=" + endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s"},
		cfg: aws.Config{Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
			HTTPClient: wholebody.Client(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}})}}
	killWhileRead(t, []*feed{k.polled("polled"), k.pushed("pushed"), k.table("changed")}, kills)
	if long {
		t.Run("while shards are split and merged", func(t *testing.T) {
			endpoint := eventsourcetest.KinesisLocal(t)
			k := &kinesisFeeds{t: t, env: []string{"AWS_ENDPOINT_URL_KINESIS=" + endpoint, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=s"},
				cfg: aws.Config{Region: "eu-west-1", BaseEndpoint: &endpoint, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")}}
			f := k.polled("resharded")
			put, n := f.put, 0
			f.put = func(key, body string) error {
				if n++; n%60 == 0 {
					if err := k.reshard(f.name); err != nil {
						return err
					}
				}
				return put(key, body)
			}
			killWhileRead(t, []*feed{f}, kills)
		})
	}
}

// kinesisFeeds makes feeds of one server of Kinesis and DynamoDB.
type kinesisFeeds struct {
	t   *testing.T
	cfg aws.Config
	env []string
}

// polled is a stream with two shards.
func (k *kinesisFeeds) polled(name string) *feed {
	k.t.Helper()
	client := kinesis.NewFromConfig(k.cfg)
	if _, err := client.CreateStream(k.t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(2)}); err != nil {
		k.t.Fatal(err)
	}
	return &feed{name: name, env: k.env, order: byKey,
		mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: aws.String(k.active(name)), StartingPosition: types.EventSourcePositionTrimHorizon, ParallelizationFactor: aws.Int32(2)},
		put: func(key, body string) error {
			_, err := client.PutRecord(k.t.Context(), &kinesis.PutRecordInput{StreamName: &name, PartitionKey: &key, Data: []byte(body)})
			return err
		}}
}

// active waits until a stream can be changed.
func (k *kinesisFeeds) active(name string) (arn string) {
	k.t.Helper()
	client := kinesis.NewFromConfig(k.cfg)
	until(k.t, time.Minute, "the stream is active", func() bool {
		out, err := client.DescribeStreamSummary(k.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &name})
		if err == nil {
			arn = *out.StreamDescriptionSummary.StreamARN
		}
		return err == nil && out.StreamDescriptionSummary.StreamStatus == kinesistypes.StreamStatusActive
	})
	return arn
}

// pushed is a consumer of a stream.
func (k *kinesisFeeds) pushed(name string) *feed {
	k.t.Helper()
	f := k.polled(name)
	client := kinesis.NewFromConfig(k.cfg)
	out, err := client.RegisterStreamConsumer(k.t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: f.mapping.EventSourceArn, ConsumerName: aws.String("reads")})
	if err != nil {
		k.t.Fatal(err)
	}
	f.mapping.EventSourceArn = out.Consumer.ConsumerARN
	return f
}

// table is a table of DynamoDB. Changes of one item are in order.
func (k *kinesisFeeds) table(name string) *feed {
	k.t.Helper()
	client := dynamodb.NewFromConfig(k.cfg)
	out, err := client.CreateTable(k.t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: tables.BillingModePayPerRequest,
		AttributeDefinitions: []tables.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: tables.ScalarAttributeTypeS}},
		KeySchema:            []tables.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: tables.KeyTypeHash}},
		StreamSpecification:  &tables.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: tables.StreamViewTypeKeysOnly}})
	if err != nil {
		k.t.Fatal(err)
	}
	return &feed{name: name, env: k.env, order: func(string) string { return "the shard" }, // one, and one batch in flight
		mapping: lambda.CreateEventSourceMappingInput{EventSourceArn: out.TableDescription.LatestStreamArn, StartingPosition: types.EventSourcePositionTrimHorizon},
		put: func(_, body string) error {
			_, err := client.PutItem(k.t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: map[string]tables.AttributeValue{"id": &tables.AttributeValueMemberS{Value: body}}})
			return err
		}}
}

// reshard splits the first of two open shards, or merges the first two of three.
func (k *kinesisFeeds) reshard(name string) error {
	client := kinesis.NewFromConfig(k.cfg)
	out, err := client.ListShards(k.t.Context(), &kinesis.ListShardsInput{StreamName: &name})
	if err != nil {
		return err
	}
	number := func(s *string) *big.Int {
		n, _ := new(big.Int).SetString(*s, 10)
		return n
	}
	var open []kinesistypes.Shard
	for _, sh := range out.Shards {
		if sh.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, sh)
		}
	}
	for _, a := range open {
		for _, b := range open {
			next := new(big.Int).Add(number(a.HashKeyRange.EndingHashKey), big.NewInt(1))
			if len(open) > 2 && next.Cmp(number(b.HashKeyRange.StartingHashKey)) == 0 {
				_, err := client.MergeShards(k.t.Context(), &kinesis.MergeShardsInput{StreamName: &name, ShardToMerge: a.ShardId, AdjacentShardToMerge: b.ShardId})
				return err
			}
		}
	}
	if len(open) == 0 {
		return errors.New("no shard is open")
	}
	middle := new(big.Int).Add(number(open[0].HashKeyRange.StartingHashKey), number(open[0].HashKeyRange.EndingHashKey))
	_, err = client.SplitShard(k.t.Context(), &kinesis.SplitShardInput{StreamName: &name, ShardToSplit: open[0].ShardId, NewStartingHashKey: aws.String(fmt.Sprint(middle.Rsh(middle, 1)))})
	return err
}
