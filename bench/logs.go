package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const (
	logEvents  = 1_000_000
	logBatch   = 5000 // events of a PutLogEvents
	logGroup   = "/bench/logs"
	logStream  = "events"
	rareEvents = 100_000 // one event of so many is an error
)

// measureLogs searches a group of a million events.
func measureLogs(ctx context.Context, o options, s *server) ([]result, error) {
	logs := cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String("http://" + s.host), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	began := time.Now()
	if err := fillLogs(ctx, logs); err != nil {
		return nil, err
	}
	out := []result{{what: "a million events by PutLogEvents", value: time.Since(began).Seconds(), unit: "s"}}
	for _, c := range []struct{ what, pattern string }{
		{"FilterLogEvents over a million, first page, no pattern", ""},
		{"FilterLogEvents over a million, first page, JSON text that is rare", `{ $.level = "ERROR" && $.n > 3 }`},
		{"FilterLogEvents over a million, first page, JSON number that is rare", fmt.Sprintf("{ $.n > %d }", logEvents-10)},
		{"FilterLogEvents over a million, first page, a word that is rare", "ERROR"},
	} {
		var took []float64
		for range o.rounds {
			began := time.Now()
			if _, err := logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(logGroup), FilterPattern: &c.pattern}); err != nil {
				return nil, err
			}
			took = append(took, float64(time.Since(began))/float64(time.Millisecond))
		}
		out = append(out, result{what: c.what, value: median(took), unit: "ms", aim: 1000})
	}
	return out, nil
}

func fillLogs(ctx context.Context, logs *cloudwatchlogs.Client) error {
	group, stream := aws.String(logGroup), aws.String(logStream)
	if _, err := logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); err != nil {
		return err
	}
	if _, err := logs.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		return err
	}
	first := time.Now().Add(-time.Hour).UnixMilli()
	for n := 0; n < logEvents; n += logBatch {
		in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream}
		for i := n; i < n+logBatch; i++ {
			level := "INFO"
			if i%rareEvents == rareEvents-1 {
				level = "ERROR"
			}
			in.LogEvents = append(in.LogEvents, types.InputLogEvent{Timestamp: aws.Int64(first + int64(i)/1000), Message: aws.String(fmt.Sprintf(
				`{"timestamp":"2026-11-01T12:00:00.000Z","level":"%s","requestId":"8f507cfc-0000-4697-b07a-ac58fc914c95","n":%d,"message":"an order came in"}`, level, i))})
		}
		if _, err := logs.PutLogEvents(ctx, in); err != nil {
			return err
		}
	}
	return nil
}
