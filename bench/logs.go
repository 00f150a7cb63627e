package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/internal/wholebody"
)

const (
	logEvents  = 1_000_000
	logBatch   = 5000 // events of a PutLogEvents
	logGroup   = "/bench/logs"
	logStream  = "events"
	rareEvents = 100_000 // one event of so many is an error
)

// printer prints numbered lines of 111 bytes as fast as they are taken.
const printer = `const fs = require('fs')
exports.handler = async (e) => { let n = 0
  while (n < e.lines) { let b = ''; for (let i = 0; i < 500 && n < e.lines; i++) b += 'line ' + String(n++).padStart(6, '0') + ' ' + 'x'.repeat(98) + '\n'
    for (let left = Buffer.from(b); left.length; ) { try { left = left.subarray(fs.writeSync(2, left)) } catch (err) { if (err.code !== 'EAGAIN') throw err } } }
  return n }
`

const (
	printed   = 450_000 // lines: 50 MB
	lineBytes = 111
)

// measureLogs has a function print, and searches a group of a million events.
func measureLogs(ctx context.Context, o options, s *server) ([]result, error) {
	logs := cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String("http://" + s.host), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	out, err := s.measureOutput(ctx, logs)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := fillLogs(ctx, logs); err != nil {
		return nil, err
	}
	out = append(out, result{what: "a million events by PutLogEvents", value: time.Since(began).Seconds(), unit: "s"})
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

// measureOutput is the rate at which a function's output is taken, and what is lost of it.
func (s *server) measureOutput(ctx context.Context, logs *cloudwatchlogs.Client) ([]result, error) {
	const name = "printer"
	rt, err := hostNode(ctx)
	if err == nil {
		err = s.create(ctx, name, rt, "index.handler", "index.js", []byte(printer))
	}
	if err != nil {
		return nil, err
	}
	print := func(lines int) error {
		out, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: fmt.Appendf(nil, `{"lines":%d}`, lines)})
		if err == nil && (out.FunctionError != nil || string(out.Payload) != fmt.Sprint(lines)) {
			err = fmt.Errorf("%s answered %s", name, out.Payload)
		}
		return err
	}
	if err := print(1); err != nil { // the cold start
		return nil, err
	}
	began := time.Now()
	if err := print(printed); err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	kept, err := countLines(ctx, logs, "/aws/lambda/"+name)
	return []result{
		{what: "output of a function", value: printed * lineBytes / 1e6 / took, unit: "MB/s", aim: 50, atLeast: true},
		{what: "lines of it that are not in the log", value: printed + 1 - kept, unit: "", none: true},
	}, err
}

// countLines asks Logs Insights.
func countLines(ctx context.Context, logs *cloudwatchlogs.Client, group string) (float64, error) {
	q, err := logs.StartQuery(ctx, &cloudwatchlogs.StartQueryInput{LogGroupName: &group, StartTime: aws.Int64(0), EndTime: aws.Int64(time.Now().Unix() + 60),
		QueryString: aws.String(`filter @message like /^line [0-9]+ x+/ | stats count(*)`)})
	if err != nil {
		return 0, err
	}
	for {
		out, err := logs.GetQueryResults(ctx, &cloudwatchlogs.GetQueryResultsInput{QueryId: q.QueryId})
		if err != nil || out.Status == types.QueryStatusComplete {
			if err == nil {
				return out.Statistics.RecordsMatched, nil
			}
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
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
