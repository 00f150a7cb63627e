package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/samples"
)

// act is one sample of the demonstration and what is done with it.
type act struct {
	sample string // of package samples
	family string // of runtime identifiers
	steps  []stepOf
}

type stepOf struct{ name, event string }

var greeting = []stepOf{{"cold invoke", `{"name":"you"}`}, {"warm invoke", `{"name":"you again"}`}}

var acts = []act{
	{"nodejs-hello", "nodejs", greeting},
	{"python-hello", "python", greeting},
	{"java-hello", "java", greeting},
	{"go-hello", "provided", greeting},
	{"shell-hello", "provided", greeting},
	{"nodejs-error", "nodejs", []stepOf{{"error", `{"how":"throw"}`}, {"error, warm", `{"how":"reject"}`}, {"crash", `{"how":"uncaught"}`}}},
	{"nodejs-timeout", "nodejs", []stepOf{{"timeout", `{}`}, {"after the timeout", `{"ms":0}`}}},
}

// phase is a part of a cold start and how long it took.
type phase struct {
	Name         string  `json:"name"`
	Milliseconds float64 `json:"ms"`
	Parts        []phase `json:"parts,omitempty"`
}

// step is one thing that the demonstration did.
type step struct {
	Function      string  `json:"function"`
	Runtime       string  `json:"runtime"`
	Step          string  `json:"step"`
	ClientMs      float64 `json:"clientMs"` // as the caller saw it
	Answer        string  `json:"answer,omitempty"`
	FunctionError string  `json:"functionError,omitempty"`
	DurationMs    float64 `json:"durationMs,omitempty"` // the rest as the REPORT line has it
	BilledMs      float64 `json:"billedMs,omitempty"`
	InitMs        float64 `json:"initMs,omitempty"`
	MaxMemoryMiB  float64 `json:"maxMemoryMiB,omitempty"`
	Status        string  `json:"status,omitempty"`
	Phases        []phase `json:"phases,omitempty"` // of a cold start
}

// run creates one sample and takes it through its steps.
func (d *demonstration) run(ctx context.Context, do act, identifier string) error {
	words, name := d.app.words, functionName(do.sample)
	fmt.Fprintf(words, "\n%s, %s\n", name, identifier)
	if err := d.create(ctx, do.sample, identifier); err != nil {
		return err
	}
	for i, what := range do.steps {
		st := step{Function: name, Runtime: identifier, Step: what.name}
		log, err := d.invoke(ctx, &st, what.event)
		if err != nil {
			return fmt.Errorf("%s: %w", what.name, plainer(err))
		}
		fmt.Fprintf(words, "\n  %s in %.1f ms: %s\n", what.name, st.ClientMs, answerOf(st))
		for line := range strings.Lines(log) {
			fmt.Fprintf(words, "    | %s\n", shorten(strings.TrimRight(strings.ReplaceAll(line, "\t", "  "), "\n "), 200))
		}
		if i == 0 {
			if st.Phases, err = d.phases(ctx, name); err != nil {
				return err
			}
			fmt.Fprintf(words, "    phases: %s\n", phaseLine(st.Phases))
		}
		d.steps = append(d.steps, st)
	}
	return nil
}

func functionName(sample string) string { return "demo-" + sample }

// unbuildableError says that a sample needs a tool that the host lacks.
type unbuildableError struct{ error }

func (d *demonstration) create(ctx context.Context, name, identifier string) error {
	s, _ := samples.Get(name)
	pkg, err := samples.Zip(name)
	if err != nil {
		return unbuildableError{err}
	}
	began, name := time.Now(), functionName(name)
	// A demonstration that was killed may have left it.
	d.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name})
	made, err := d.client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: types.Runtime(identifier), Handler: &s.Handler, Timeout: aws.Int32(int32(s.TimeoutSec)), MemorySize: aws.Int32(int32(s.MemoryMiB)),
		Role: aws.String("arn:aws:iam::000000000000:role/demo"), Code: &types.FunctionCode{ZipFile: pkg},
	})
	if err != nil {
		return plainer(err)
	}
	d.made = append(d.made, name)
	if err := lambda.NewFunctionActiveV2Waiter(d.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute,
		func(o *lambda.FunctionActiveV2WaiterOptions) {
			o.MinDelay, o.MaxDelay = 10*time.Millisecond, time.Second
		}); err != nil {
		return err
	}
	st := step{Function: name, Runtime: identifier, Step: "create", ClientMs: milliseconds(time.Since(began)), Answer: fmt.Sprintf("%s, then Active", made.State)}
	fmt.Fprintf(d.app.words, "  create in %.1f ms: %s\n", st.ClientMs, st.Answer)
	d.steps = append(d.steps, st)
	return nil
}

// invoke fills in the step and returns the invocation's log.
func (d *demonstration) invoke(ctx context.Context, st *step, event string) (string, error) {
	began := time.Now()
	out, err := d.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &st.Function, Payload: []byte(event), LogType: types.LogTypeTail})
	if err != nil {
		return "", err
	}
	st.ClientMs = milliseconds(time.Since(began))
	st.Answer, st.FunctionError = string(out.Payload), aws.ToString(out.FunctionError)
	log, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if err != nil {
		return "", fmt.Errorf("log of the answer: %w", err)
	}
	readReport(st, string(log))
	return string(log), nil
}

// reportField is a part of a REPORT line: a name, a number, a unit.
var reportField = regexp.MustCompile(`(?:^|\t)(Duration|Billed Duration|Max Memory Used|Init Duration): ([0-9.]+) (?:ms|MB)`)

// readReport takes the numbers out of the REPORT line.
func readReport(st *step, log string) {
	at := strings.LastIndex(log, "REPORT RequestId: ")
	if at < 0 {
		return
	}
	line, _, _ := strings.Cut(log[at:], "\n")
	for _, m := range reportField.FindAllStringSubmatch(line, -1) {
		n, _ := strconv.ParseFloat(m[2], 64)
		switch m[1] {
		case "Duration":
			st.DurationMs = n
		case "Billed Duration":
			st.BilledMs = n
		case "Max Memory Used":
			st.MaxMemoryMiB = n
		case "Init Duration":
			st.InitMs = n
		}
	}
	if _, rest, ok := strings.Cut(line, "Status: "); ok {
		st.Status, _, _ = strings.Cut(rest, "\t")
	}
}

// phases are what the newest environment of the function tells about its start: the steps of making its sandbox, then its states.
func (d *demonstration) phases(ctx context.Context, function string) ([]phase, error) {
	envs, err := d.server.Environments(ctx)
	if err != nil {
		return nil, err
	}
	var env *admin.Environment
	for i, e := range envs {
		if e.Function == function && (env == nil || e.Created.After(env.Created)) {
			env = &envs[i]
		}
	}
	if env == nil {
		return nil, fmt.Errorf("no environment of %s", function)
	}
	var out []phase
	for i, m := range env.Moves {
		p := phase{Name: strings.ToLower(m.From), Milliseconds: m.Seconds * 1000}
		if i == 0 {
			for _, s := range env.Stages {
				p.Parts = append(p.Parts, phase{Name: s.Name, Milliseconds: s.Seconds * 1000})
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func phaseLine(phases []phase) string {
	var all []string
	for _, p := range phases {
		text := fmt.Sprintf("%s %.1f ms", p.Name, p.Milliseconds)
		if len(p.Parts) > 0 {
			text += " (" + phaseLine(p.Parts) + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// shorten cuts what is longer than n characters.
func shorten(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// answerOf is the answer on one line.
func answerOf(st step) string {
	if st.FunctionError == "" {
		return st.Answer
	}
	var e struct{ ErrorType, ErrorMessage string }
	if json.Unmarshal([]byte(st.Answer), &e) != nil || e.ErrorType == "" {
		return st.FunctionError + " " + st.Answer
	}
	return e.ErrorType + ": " + e.ErrorMessage
}

func stepRows(steps []step) [][]string {
	rows := [][]string{{"FUNCTION", "STEP", "CALLER SAW", "DURATION", "INIT", "BILLED", "MEMORY", "ANSWER"}}
	number := func(n float64, unit string) string {
		if n == 0 {
			return "-"
		}
		return strconv.FormatFloat(n, 'f', -1, 64) + " " + unit
	}
	for _, st := range steps {
		rows = append(rows, []string{st.Function, st.Step, fmt.Sprintf("%.1f ms", st.ClientMs), number(st.DurationMs, "ms"), number(st.InitMs, "ms"),
			number(st.BilledMs, "ms"), number(st.MaxMemoryMiB, "MB"), shorten(answerOf(st), 60)})
	}
	return rows
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
