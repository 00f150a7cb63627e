package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/internal/wholebody"
)

const busRules = 10_000

// measureBuses counts events that a bus with 10,000 rules takes, each for one function, and how late 10,000 rules with
// schedules are fired. The function runs nothing meanwhile: what counts is that the events are on disk.
func measureBuses(ctx context.Context, o options, s *server) ([]result, error) {
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	const name = "target"
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(`exports.handler = async () => {}`)); err != nil {
		return nil, err
	}
	_, err = s.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(name), ReservedConcurrentExecutions: aws.Int32(0)})
	if err != nil {
		return nil, err
	}
	// The server verifies signatures, so it asks the function's policy, too.
	_, err = s.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: aws.String(name), StatementId: aws.String("rules"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("events.amazonaws.com")})
	if err != nil {
		return nil, err
	}
	f, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(name)})
	if err != nil {
		return nil, err
	}
	c := eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: aws.String("http://" + s.host), HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider(keyID, keySecret, "")})
	began := time.Now()
	if err := busRulesOf(ctx, c, "match", *f.FunctionArn, busRules, func(i int, in *eventbridge.PutRuleInput) {
		in.EventPattern = aws.String(fmt.Sprintf(`{"source":["shop"],"detail-type":["Placed"],"detail":{"customer":["c-%d"],"total":[{"numeric":[">",10]}]}}`, i))
	}); err != nil {
		return nil, err
	}
	out := []result{{what: "10,000 rules with a target made", value: time.Since(began).Seconds(), unit: "s"}}
	for _, n := range []int{1, 10} {
		raw, err := s.putEvents(ctx, n)
		if err != nil {
			return nil, err
		}
		var rates []float64
		for range o.rounds {
			requests, took, err := s.flood(ctx, raw, 64, o.burst)
			if err != nil {
				return nil, err
			}
			rates = append(rates, float64(n*requests)/took.Seconds())
		}
		out = append(out, result{what: fmt.Sprintf("events accepted through 10,000 rules, %d in a request, 64 connections", n), value: median(rates), unit: "events/s", aim: 2000, atLeast: true})
	}
	late, err := s.measureSchedules(ctx, c, *f.FunctionArn)
	return append(out, late...), err
}

// busRulesOf makes rules with one target each, 16 at a time.
func busRulesOf(ctx context.Context, c *eventbridge.Client, prefix, target string, n int, fill func(int, *eventbridge.PutRuleInput)) error {
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				name := fmt.Sprintf("%s-%d", prefix, i)
				in := &eventbridge.PutRuleInput{Name: &name}
				fill(i, in)
				_, err := c.PutRule(ctx, in)
				if err == nil {
					_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{{Id: aws.String("f"), Arn: &target}}})
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// putEvents is a signed request with n entries, each of which one rule lets pass.
func (s *server) putEvents(ctx context.Context, n int) ([]byte, error) {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(`{"Source":"shop","DetailType":"Placed","Detail":"{\"customer\":\"c-%d\",\"total\":%d,\"items\":[{\"sku\":\"a\",\"n\":1},{\"sku\":\"b\",\"n\":2}]}"}`, 7000+i, 20+i))
	}
	body := []byte(`{"Entries":[` + strings.Join(entries, ",") + `]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.host+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AWSEvents.PutEvents")
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, req, hex.EncodeToString(sum[:]), "events", region, time.Now()); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	err = req.Write(&raw)
	return raw.Bytes(), err
}

const lateMetric = "thaw_schedule_late_seconds_"

// measureSchedules tells how late 10,000 rules are fired: at times of their own within a minute, and all at the same one.
func (s *server) measureSchedules(ctx context.Context, c *eventbridge.Client, target string) ([]result, error) {
	if err := busRulesOf(ctx, c, "due", target, busRules, func(i int, in *eventbridge.PutRuleInput) {
		in.ScheduleExpression = aws.String("rate(1 minute)")
	}); err != nil {
		return nil, err
	}
	within, most, err := s.late(ctx)
	if err != nil {
		return nil, err
	}
	out := []result{{what: "of 10,000 rules with times of their own: fired within 100 ms", value: within, unit: "%", aim: 99.9, atLeast: true},
		{what: "of 10,000 rules with times of their own: the last", value: most, unit: "ms at most"}}
	if err := busRulesOf(ctx, c, "due", target, busRules, func(i int, in *eventbridge.PutRuleInput) {
		in.ScheduleExpression = aws.String("cron(* * * * ? *)")
	}); err != nil {
		return nil, err
	}
	if within, most, err = s.late(ctx); err != nil {
		return nil, err
	}
	return append(out, result{what: "of 10,000 rules due in the same second: fired within 100 ms", value: within, unit: "%"}, result{what: "of 10,000 rules due in the same second: the last", value: most, unit: "ms at most"}), nil
}

// late waits for a minute in which all rules are fired, and tells what share of them within 100 ms, and how late the last
// was, to the bound of its bucket.
func (s *server) late(ctx context.Context) (within, most float64, err error) {
	now := time.Now()
	time.Sleep(time.Until(now.Truncate(time.Minute).Add(time.Minute + 50*time.Second))) // in a minute that is whole
	before, err := s.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Minute)
	after, err := s.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	grown := func(name string) float64 { return after[lateMetric+name] - before[lateMetric+name] }
	all := grown("count")
	if all < busRules*0.99 {
		return 0, 0, fmt.Errorf("of %d rules %.0f were fired in a minute", busRules, all)
	}
	for _, bound := range []string{"0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "30", "60"} {
		if grown(`bucket{le="`+bound+`"}`) >= all {
			var seconds float64
			fmt.Sscan(bound, &seconds) //nolint:errcheck // it is written above
			most = seconds * 1000
			break
		}
	}
	return 100 * grown(`bucket{le="0.1"}`) / all, most, nil
}
