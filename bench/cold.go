package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// measureCold changes the function's configuration before each invoke, so that a new environment is needed, and gives the server time
// to have a blank sandbox ready again, as it would have between cold starts that do not come in a row.
func measureCold(ctx context.Context, o options, s *server) ([]result, error) {
	var out []result
	for _, f := range []struct {
		name, what string
		make       func(context.Context, string) error
	}{{"cold-node", "Node", s.node}, {"cold-copy", "Go", s.copier}} {
		if err := f.make(ctx, f.name); err != nil {
			return nil, err
		}
		rs, err := s.coldStarts(ctx, o, f.name, f.what)
		if err != nil {
			return nil, err
		}
		out = append(out, rs...)
	}
	return out, nil
}

var report = regexp.MustCompile(`Duration: ([0-9.]+) ms\t.*Init Duration: ([0-9.]+) ms`)

func (s *server) coldStarts(ctx context.Context, o options, name, what string) ([]result, error) {
	var total, inits, overhead []float64
	stages := map[string][]float64{}
	var order []string
	for i := range o.rounds + 1 {
		_, err := s.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name,
			Environment: &types.Environment{Variables: map[string]string{"ROUND": strconv.Itoa(i)}}})
		if err != nil {
			return nil, err
		}
		if err := lambda.NewFunctionUpdatedV2Waiter(s.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, patience*time.Minute); err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		before, _, err := s.stageSums(ctx)
		if err != nil {
			return nil, err
		}
		raw, err := s.prepare(ctx, name, "", []byte(smallEvent), true)
		if err != nil {
			return nil, err
		}
		l, err := dialLoad(ctx, s.host, raw)
		if err != nil {
			return nil, err
		}
		a, err := l.once()
		l.close()
		if err != nil {
			return nil, err
		}
		after, names, err := s.stageSums(ctx)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			continue // the first unpacks the code
		}
		log, err := base64.StdEncoding.DecodeString(a.tail)
		if err != nil {
			return nil, fmt.Errorf("log of the answer: %w", err)
		}
		m := report.FindSubmatch(log)
		if m == nil && strings.Contains(string(log), "INIT_REPORT") {
			return nil, leftOut{"Init takes longer than the 10 s that it may take"}
		}
		if m == nil {
			return nil, fmt.Errorf("no cold start: %s", log)
		}
		duration, _ := strconv.ParseFloat(string(m[1]), 64)
		init, _ := strconv.ParseFloat(string(m[2]), 64)
		total, inits = append(total, ms(a.took)), append(inits, init)
		overhead = append(overhead, ms(a.took)-init-duration)
		order = names
		for name, sum := range after {
			stages[name] = append(stages[name], (sum-before[name])*1000)
		}
	}
	platform := result{what: what + ", all but Init and the handler", value: median(overhead), unit: "ms"}
	if s.kind == "gvisor" {
		platform.aim = 60
	}
	out := []result{
		{what: what + ", first answer", value: median(total), unit: "ms"},
		{what: what + ", Init Duration", value: median(inits), unit: "ms"},
		platform,
	}
	for _, name := range order {
		out = append(out, result{what: what + ", stage " + name, value: median(stages[name]), unit: "ms"})
	}
	return out, nil
}

// metrics reads every number of /metrics, by name and labels as they stand there.
func (s *server) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", resp.Status)
	}
	out := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || lines.Text()[0] == '#' {
			continue
		}
		if out[lines.Text()[:at]], err = strconv.ParseFloat(lines.Text()[at+1:], 64); err != nil {
			return nil, fmt.Errorf("/metrics: %w", err)
		}
	}
	return out, lines.Err()
}

// stageSums are the sums of the cold start histograms, in seconds by stage, and the stages in the order of their names.
func (s *server) stageSums(ctx context.Context) (map[string]float64, []string, error) {
	all, err := s.metrics(ctx)
	if err != nil {
		return nil, nil, err
	}
	sums := map[string]float64{}
	for name, value := range all {
		if rest, is := strings.CutPrefix(name, `thaw_cold_start_stage_seconds_sum{stage="`); is {
			sums[strings.TrimSuffix(rest, `"}`)] = value
		}
	}
	return sums, slices.Sorted(maps.Keys(sums)), nil
}
