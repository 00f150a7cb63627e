package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
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
	vars   map[string]string
	then   func(*demonstration, context.Context, act, string) error // with snapshots only, after the steps; nil: nothing
	layer  string                                                   // of package samples, that the function has; its extension is heard after the steps
}

type stepOf struct{ name, event string }

var greeting = []stepOf{{"cold invoke", `{"name":"you"}`}, {"warm invoke", `{"name":"you again"}`}}

var acts = []act{
	{"nodejs-hello", "nodejs", greeting, nil, (*demonstration).publishAndRestore, ""},
	{"python-hello", "python", greeting, nil, (*demonstration).publishAndRestore, ""},
	{"python-index", "python", []stepOf{{"cold invoke", `{"word":"bacedi"}`}}, nil, (*demonstration).publishAndRestore, ""},
	{"java-hello", "java", greeting, nil, (*demonstration).publishAndRestore, ""},
	{"go-hello", "provided", greeting, nil, nil, ""},
	{"shell-hello", "provided", greeting, nil, nil, ""},
	{"nodejs-error", "nodejs", []stepOf{{"error", `{"how":"throw"}`}, {"error, warm", `{"how":"reject"}`}, {"crash", `{"how":"uncaught"}`}}, nil, nil, ""},
	{"nodejs-timeout", "nodejs", []stepOf{{"timeout", `{}`}, {"after the timeout", `{"ms":0}`}}, nil, nil, ""},
	{"nodejs-cached", "nodejs", nil, map[string]string{"TTL": strconv.Itoa(int(cachedFor / time.Second))}, (*demonstration).refresh, ""},
	{"nodejs-extension", "nodejs", greeting, nil, nil, "layer-telemetry"},
}

// shows says whether an act has something to show on this server.
func (d *demonstration) shows(do act) bool {
	return len(do.steps) > 0 || do.then != nil && d.saves(do.family)
}

// saves says whether the server makes snapshots for a family of runtimes.
func (d *demonstration) saves(family string) bool {
	return d.snapshots && !(d.strict && family != "python" && family != "java")
}

// phase is a part of a cold start and how long it took.
type phase struct {
	Name         string  `json:"name"`
	Milliseconds float64 `json:"ms"`
	CPUMs        float64 `json:"cpuMs,omitempty"` // of a processor, where it is known
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
	Phases        []phase `json:"phases,omitempty"` // of a cold start, a restore, or the making of a snapshot

	Version     string       `json:"version,omitempty"` // that was published; empty: $LATEST
	RestoreMs   float64      `json:"restoreMs,omitempty"`
	ColdMs      float64      `json:"coldMs,omitempty"`      // what the caller of a cold start of the same function saw
	Ratio       float64      `json:"ratio,omitempty"`       // of coldMs to clientMs
	Generations []generation `json:"generations,omitempty"` // that answered under load
	ReadBy      string       `json:"readBy,omitempty"`      // aws logs tail, or thaw logs where AWS's command line is not here
	Told        []string     `json:"told,omitempty"`        // what an extension heard by the Telemetry API, from the function's log
	URL         string       `json:"url,omitempty"`         // of the API that was asked
}

// run creates one sample and takes it through its steps.
func (d *demonstration) run(ctx context.Context, do act, identifier string) error {
	words, name := d.details, functionName(do.sample)
	fmt.Fprintf(words, "\n%s, %s\n", name, identifier)
	if err := d.create(ctx, do, identifier); err != nil {
		return err
	}
	for i, what := range do.steps {
		st := step{Function: name, Runtime: identifier, Step: what.name}
		log, err := d.invoke(ctx, &st, what.event)
		if err != nil {
			return fmt.Errorf("%s: %w", what.name, plainer(err))
		}
		d.tell(st, log)
		if i == 0 {
			env, err := d.newest(ctx, name, "$LATEST")
			if err != nil {
				return err
			}
			st.Phases = phasesOf(env)
			fmt.Fprintf(words, "    phases: %s\n", phaseLine(st.Phases))
		}
		d.steps = append(d.steps, st)
	}
	if do.layer != "" {
		if err := d.listen(ctx, name, identifier); err != nil {
			return err
		}
	}
	if do.then != nil && d.saves(do.family) {
		return do.then(d, ctx, do, identifier)
	}
	return nil
}

// tell prints a step and the log of its invocation.
func (d *demonstration) tell(st step, log string) {
	fmt.Fprintf(d.details, "\n  %s in %.1f ms: %s\n", st.Step, st.ClientMs, visible(answerOf(st)))
	for line := range strings.Lines(log) {
		fmt.Fprintf(d.details, "    | %s\n", visible(shorten(strings.TrimRight(strings.ReplaceAll(line, "\t", "  "), "\n "), 200)))
	}
}

func functionName(sample string) string { return "demo-" + sample }

// unbuildableError says that a sample needs a tool that the host lacks.
type unbuildableError struct{ error }

func (d *demonstration) create(ctx context.Context, do act, identifier string) error {
	s, _ := samples.Get(do.sample)
	pkg, err := samples.Zip(do.sample)
	if err != nil {
		return unbuildableError{err}
	}
	began, name := time.Now(), functionName(do.sample)
	// A demonstration that was killed may have left it.
	d.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name})
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: types.Runtime(identifier), Handler: &s.Handler, Timeout: aws.Int32(int32(s.TimeoutSec)), MemorySize: aws.Int32(int32(s.MemoryMiB)),
		Role: aws.String("arn:aws:iam::000000000000:role/demo"), Code: &types.FunctionCode{ZipFile: pkg},
	}
	if do.then != nil && d.saves(do.family) { // $LATEST runs Init all the same
		in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
		in.Environment = &types.Environment{Variables: do.vars}
	}
	if do.layer != "" {
		arn, err := d.publishLayer(ctx, do.layer)
		if err != nil {
			return err
		}
		in.Layers = []string{arn}
	}
	made, err := d.client.CreateFunction(ctx, in)
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
	fmt.Fprintf(d.details, "  create in %.1f ms: %s\n", st.ClientMs, st.Answer)
	d.steps = append(d.steps, st)
	return nil
}

// invoke fills in the step and returns the invocation's log.
func (d *demonstration) invoke(ctx context.Context, st *step, event string) (string, error) {
	began := time.Now()
	in := &lambda.InvokeInput{FunctionName: &st.Function, Payload: []byte(event), LogType: types.LogTypeTail}
	if st.Version != "" {
		in.Qualifier = &st.Version
	}
	out, err := d.client.Invoke(ctx, in)
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
var reportField = regexp.MustCompile(`(?:^|\t)(Duration|Billed Duration|Max Memory Used|Init Duration|Restore Duration): ([0-9.]+) (?:ms|MB)`)

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
		case "Restore Duration":
			st.RestoreMs = n
		}
	}
	if _, rest, ok := strings.Cut(line, "Status: "); ok {
		st.Status, _, _ = strings.Cut(rest, "\t")
	}
}

// newest is the newest environment of a version of the function.
func (d *demonstration) newest(ctx context.Context, function, version string) (admin.Environment, error) {
	envs, err := d.server.Environments(ctx)
	if err != nil {
		return admin.Environment{}, err
	}
	var env *admin.Environment
	for i, e := range envs {
		if e.Function == function && e.Qualifier == version && e.Invokes > 0 && (env == nil || e.Created.After(env.Created)) { // a spare is newer
			env = &envs[i]
		}
	}
	if env == nil {
		return admin.Environment{}, fmt.Errorf("no environment of %s:%s", function, version)
	}
	return *env, nil
}

// phasesOf is what an environment tells about its start: the steps of making its sandbox, then its states.
func phasesOf(env admin.Environment) []phase {
	var out []phase
	for i, m := range env.Moves {
		p := phase{Name: strings.ToLower(m.From), Milliseconds: m.Seconds * 1000}
		if i == 0 {
			p.Parts = partsOf(env.Stages)
		}
		out = append(out, p)
	}
	return out
}

// partsOf are stages one after the other. "STAGE: POINT" is not one of them but a point within the last, counted from its beginning, and "..., cpu" the
// processor time until then.
func partsOf(stages []admin.Stage) []phase {
	var out []phase
	for _, s := range stages {
		name, isCPU := strings.CutSuffix(s.Name, ", cpu")
		at := &out
		if stage, point, is := strings.Cut(name, ": "); is && len(out) > 0 && out[len(out)-1].Name == stage {
			name, at = "to "+point, &out[len(out)-1].Parts
		}
		if n := len(*at); isCPU && n > 0 && (*at)[n-1].Name == name {
			(*at)[n-1].CPUMs = s.Seconds * 1000
			continue
		}
		*at = append(*at, phase{Name: name, Milliseconds: s.Seconds * 1000})
	}
	return out
}

func phaseLine(phases []phase) string {
	var all []string
	for _, p := range phases {
		text := fmt.Sprintf("%s %.1f ms", p.Name, p.Milliseconds)
		if p.CPUMs > 0 {
			text += fmt.Sprintf(" (cpu %.1f)", p.CPUMs)
		}
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

// printSteps is the demonstration at a glance: every step, then what a snapshot saves, then how one was made anew under load.
func printSteps(w io.Writer, steps []step) {
	fmt.Fprintln(w)
	table(w, stepRows(steps))
	if rows := besideRows(steps); len(rows) > 1 {
		fmt.Fprintln(w)
		table(w, rows)
	}
	if rows := generationRows(steps); len(rows) > 1 {
		fmt.Fprintln(w)
		table(w, rows)
	}
}

// stepRows are the steps that invoke. How a function was created and published stands among the details.
func stepRows(steps []step) [][]string {
	rows := [][]string{{"FUNCTION", "STEP", "CALLER SAW", "DURATION", "INIT", "ANSWER"}}
	number := func(n float64) string {
		if n == 0 {
			return "-"
		}
		return strconv.FormatFloat(n, 'f', 1, 64) + " ms"
	}
	for _, st := range steps {
		if st.DurationMs == 0 && len(st.Told) == 0 && st.URL == "" {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(st.Function, functionName(""))+":"+st.Version, ":")
		rows = append(rows, []string{name, st.Step, fmt.Sprintf("%.1f ms", st.ClientMs), number(st.DurationMs), number(st.InitMs), shorten(answerOf(st), 60)})
	}
	return rows
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
