package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/api"
)

const ordersARN = "arn:aws:lambda:eu-west-1:000000000000:function:orders"

// leftovers are the files that packages leave behind.
func (w *world) leftovers() []string {
	w.t.Helper()
	var out []string
	for _, dir := range []string{"blobs", "code"} {
		err := filepath.WalkDir(filepath.Join(w.dir, dir), func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, p)
			}
			if errors.Is(err, os.ErrNotExist) { // it goes just now
				return nil
			}
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

// declaring makes the only entry of a package say that it has that many bytes unzipped.
func declaring(zip []byte, size uint32) []byte {
	central := bytes.Index(zip, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(zip[central+24:], size)
	return zip
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t)
	w.create("taken")
	w.active("taken")
	before := w.leftovers()
	big := strings.Repeat("x", 4096)
	tags := map[string]string{}
	for i := range 51 {
		tags[fmt.Sprint(i)] = ""
	}
	type edit = func(*lambda.CreateFunctionInput)
	const invalid, validation = "InvalidParameterValueException", "ValidationException"
	cases := []struct {
		name          string
		edit          edit
		code, message string
	}{
		{"a name that is taken, C-027", func(in *lambda.CreateFunctionInput) { in.FunctionName = aws.String("taken") }, "ResourceConflictException", "Function already exist: taken"},
		{"garbage, C-028", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = []byte("garbage") }, invalid, "Could not unzip uploaded file. Please check your file, then try to upload again."},
		{"an empty zip", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = zipOf(t) }, invalid, "Uploaded file must be a non-empty zip"},
		{"traversal", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = zipOf(t, "ok", "", "../x", "") }, invalid, `Could not unzip uploaded file. Please check your file, then try to upload again. (package entry "../x": leaves the package)`},
		{"too large unzipped, C-030", func(in *lambda.CreateFunctionInput) {
			in.Code.ZipFile = declaring(zipOf(t, "a", ""), 262144001)
		}, invalid, "Unzipped size must be smaller than 262144000 bytes"},
		{"too many variables, C-031", func(in *lambda.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"B1": "<&>", "A1": big}}
		}, invalid,
			`Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: {"A1":"` + big + `","B1":"<&>"}`},
		{"reserved variables", func(in *lambda.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "y"}}
		}, invalid,
			"Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_ACCESS_KEY_ID, AWS_REGION"},
		{"names of variables", func(in *lambda.CreateFunctionInput) {
			in.Environment = &types.Environment{Variables: map[string]string{"1": "secret"}}
		}, validation,
			"1 validation error detected: Value '*** Sensitive Data Redacted ***' at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"},
		{"an unknown runtime, C-032", func(in *lambda.CreateFunctionInput) { in.Runtime = "non-existent-runtime" }, invalid,
			"Value non-existent-runtime at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, nodejs16.x, nodejs18.x, nodejs22.x, nodejs24.x, python3.8, python3.9, python3.10, python3.11, python3.12, python3.13, java8.al2, java11, java17, java21, java25, dotnet6, dotnet8, dotnet10, ruby3.2, ruby3.3, ruby3.4, provided.al2, provided.al2023] or be a valid ARN"},
		{"a deprecated runtime", func(in *lambda.CreateFunctionInput) { in.Runtime = "go1.x" }, invalid, "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."},
		{"two architectures, C-033", func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{"x86_64", "arm64"} }, validation, "1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"},
		{"a bad architecture, C-033", func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{"X86_64"} }, validation, "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"},
		{"a bad role, C-033", func(in *lambda.CreateFunctionInput) { in.Role = aws.String("r1") }, validation, `1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`},
		{"a bad SnapStart, E-135", func(in *lambda.CreateFunctionInput) { in.SnapStart = &types.SnapStart{ApplyOn: "invalidOption"} }, validation, "1 validation error detected: Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]"},
		{"levels with text, C-125", func(in *lambda.CreateFunctionInput) {
			in.LoggingConfig = &types.LoggingConfig{LogFormat: "Text", SystemLogLevel: "INFO"}
		}, invalid, `LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.`},
		{"51 tags, C-120", func(in *lambda.CreateFunctionInput) { in.Tags = tags }, invalid, "Number of tags exceeds resource tag limit."},
		{"code in two places", func(in *lambda.CreateFunctionInput) {
			in.Code.S3Bucket, in.Code.S3Key = aws.String("b"), aws.String("k")
		}, invalid,
			"Please do not provide other FunctionCode parameters when providing a ZipFile."},
		{"half a place in S3", func(in *lambda.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: aws.String("b")}
		}, invalid, "Please provide a source for function code."},
		{"no code", func(in *lambda.CreateFunctionInput) { in.Code = &types.FunctionCode{} }, invalid, "Please provide a source for function code."},
		{"several at once, C-014", func(in *lambda.CreateFunctionInput) { in.MemorySize, in.Timeout = aws.Int32(1), aws.Int32(901) }, validation,
			"2 validation errors detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900; Value '1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := createInput(t, "refused")
			c.edit(in)
			_, err := w.client.CreateFunction(t.Context(), in)
			wantError(t, err, c.code, c.message)
		})
	}
	if after := w.leftovers(); !slices.Equal(before, after) {
		t.Errorf("left behind: %q, before there was %q", after, before)
	}
	if _, err := w.client.CreateFunction(t.Context(), createInput(t, "refused")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestCodeIsKeptAsItWasUploaded(t *testing.T) { // C-026, C-044
	w := newWorld(t)
	zip := zipOf(t, "index.js", "x")
	out := w.create("orders", func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = zip })
	sum := sha256.Sum256(zip)
	if *out.CodeSha256 != base64.StdEncoding.EncodeToString(sum[:]) || out.CodeSize != int64(len(zip)) {
		t.Errorf("hash %s, %d bytes", *out.CodeSha256, out.CodeSize)
	}
	location := *w.active("orders").Code.Location
	get := func(url string) (int, []byte) {
		t.Helper()
		tr := &http.Transport{DisableKeepAlives: true}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, b
	}
	if status, b := get(location); status != 200 || !bytes.Equal(b, zip) {
		t.Errorf("download: %d, %d bytes", status, len(b))
	}
	if status, _ := get(location[:len(location)-1]); status != 403 {
		t.Errorf("with a broken token: %d", status)
	}
}

func TestCreateWithEverything(t *testing.T) { // C-025, C-035, C-045, C-125
	w := newWorld(t)
	out := w.create("orders", func(in *lambda.CreateFunctionInput) {
		in.Publish, in.Tags = true, map[string]string{"a": "b"}
		in.Description, in.Timeout, in.MemorySize = aws.String("d"), aws.Int32(7), aws.Int32(256)
		in.Environment = &types.Environment{Variables: map[string]string{}}
		in.LoggingConfig = &types.LoggingConfig{LogFormat: "JSON"}
		in.EphemeralStorage = &types.EphemeralStorage{Size: aws.Int32(600)}
		in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
		in.VpcConfig = &types.VpcConfig{SubnetIds: []string{"subnet-1"}, SecurityGroupIds: []string{"sg-1"}}
		in.TracingConfig = &types.TracingConfig{Mode: "Active"}
		in.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: aws.String("arn:aws:sqs:eu-west-1:000000000000:q")}
		in.KMSKeyArn = aws.String("arn:aws:kms:eu-west-1:000000000000:key/k")
	})
	if *out.Version != "1" || *out.FunctionArn != ordersARN || out.State != types.StatePending {
		t.Errorf("create with Publish: %s %s %s", *out.Version, *out.FunctionArn, out.State) // C-035
	}
	got := w.active("orders")
	c := got.Configuration
	if *c.Timeout != 7 || *c.MemorySize != 256 || *c.EphemeralStorage.Size != 600 || c.Environment == nil || len(c.Environment.Variables) != 0 ||
		c.LoggingConfig.ApplicationLogLevel != "INFO" || c.LoggingConfig.SystemLogLevel != "INFO" || c.SnapStart.ApplyOn != "PublishedVersions" ||
		c.SnapStart.OptimizationStatus != "Off" || *c.VpcConfig.VpcId == "" || c.TracingConfig.Mode != "Active" || *c.DeadLetterConfig.TargetArn == "" || *c.KMSKeyArn == "" {
		t.Errorf("configuration %+v", c)
	}
	if got.Tags["a"] != "b" || got.Concurrency != nil {
		t.Errorf("tags %v, concurrency %v", got.Tags, got.Concurrency)
	}
	v, err := w.client.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("orders:1")})
	if err != nil || v.Configuration.State != types.StateActive || *v.Configuration.FunctionArn != ordersARN+":1" {
		t.Errorf("version 1: %+v, %v", v, err)
	}
}

func TestUpdateConfigurationMerges(t *testing.T) { // C-036, C-038, C-125
	w := newWorld(t)
	w.create("orders", func(in *lambda.CreateFunctionInput) {
		in.Description = aws.String("kept")
		in.Environment = &types.Environment{Variables: map[string]string{"AA": "1", "BB": "2"}}
		in.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: aws.String("arn:aws:sqs:eu-west-1:000000000000:q")}
		in.VpcConfig = &types.VpcConfig{SubnetIds: []string{"subnet-1"}, SecurityGroupIds: []string{"sg-1"}}
	})
	w.active("orders")
	update := func(in *lambda.UpdateFunctionConfigurationInput) *types.FunctionConfiguration {
		t.Helper()
		in.FunctionName = aws.String("orders")
		out, err := w.client.UpdateFunctionConfiguration(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if out.LastUpdateStatus != types.LastUpdateStatusInProgress {
			t.Errorf("answered %s", out.LastUpdateStatus)
		}
		c := w.updated("orders").Configuration
		if *c.RevisionId == *out.RevisionId {
			t.Error("the end of the update left the RevisionId")
		}
		return c
	}
	c := update(&lambda.UpdateFunctionConfigurationInput{Environment: &types.Environment{Variables: map[string]string{"CC": "3"}}, Timeout: aws.Int32(9)})
	if *c.Description != "kept" || len(c.Environment.Variables) != 1 || c.Environment.Variables["CC"] != "3" || *c.Timeout != 9 || c.DeadLetterConfig == nil {
		t.Errorf("merged to %+v", c)
	}
	first := *c.RevisionId
	if c = update(&lambda.UpdateFunctionConfigurationInput{}); *c.RevisionId == first {
		t.Error("an update that changes nothing left the RevisionId") // C-038
	}
	c = update(&lambda.UpdateFunctionConfigurationInput{
		DeadLetterConfig: &types.DeadLetterConfig{TargetArn: aws.String("")}, VpcConfig: &types.VpcConfig{SubnetIds: []string{}, SecurityGroupIds: []string{}},
		Environment: &types.Environment{Variables: map[string]string{}}, LoggingConfig: &types.LoggingConfig{LogFormat: "JSON", ApplicationLogLevel: "DEBUG"},
	})
	if c.DeadLetterConfig != nil || len(c.VpcConfig.SubnetIds) != 0 || *c.VpcConfig.VpcId != "" || c.Environment == nil || c.LoggingConfig.ApplicationLogLevel != "DEBUG" || c.LoggingConfig.SystemLogLevel != "INFO" {
		t.Errorf("cleared to %+v", c)
	}
	c = update(&lambda.UpdateFunctionConfigurationInput{LoggingConfig: &types.LoggingConfig{LogGroup: aws.String("/mine")}})
	if c.LoggingConfig.LogFormat != "JSON" || c.LoggingConfig.ApplicationLogLevel != "DEBUG" || *c.LoggingConfig.LogGroup != "/mine" {
		t.Errorf("logging merged to %+v", c.LoggingConfig)
	}
	if c = update(&lambda.UpdateFunctionConfigurationInput{LoggingConfig: &types.LoggingConfig{LogFormat: "Text"}}); c.LoggingConfig.ApplicationLogLevel != "" {
		t.Errorf("text has the levels %+v", c.LoggingConfig)
	}
}

func TestUpdateCode(t *testing.T) { // C-037 to C-042, C-051
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	old := *w.active("orders").Configuration.CodeSha256
	next := zipOf(t, "index.js", "next")
	update := func(edit func(*lambda.UpdateFunctionCodeInput)) (*lambda.UpdateFunctionCodeOutput, error) {
		in := &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("orders"), ZipFile: next}
		edit(in)
		return w.client.UpdateFunctionCode(ctx, in)
	}
	out, err := update(func(in *lambda.UpdateFunctionCodeInput) { in.DryRun = true })
	if err != nil || *out.CodeSha256 == old {
		t.Errorf("dry run: %+v, %v", out, err)
	}
	if c := w.active("orders").Configuration; *c.CodeSha256 != old { // C-041
		t.Error("a dry run changed the code")
	}
	_, err = update(func(in *lambda.UpdateFunctionCodeInput) { in.RevisionId = aws.String("stale") })
	wantError(t, err, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id") // C-051
	_, err = update(func(in *lambda.UpdateFunctionCodeInput) { in.ZipFile, in.ImageUri = nil, aws.String("x") })
	wantError(t, err, "InvalidParameterValueException", "Please don't provide ImageUri when updating a function with packageType Zip.") // C-042
	_, err = update(func(in *lambda.UpdateFunctionCodeInput) { in.FunctionName = aws.String("orders:1") })
	wantError(t, err, "InvalidParameterValueException", "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.")
	_, err = update(func(in *lambda.UpdateFunctionCodeInput) { in.FunctionName = aws.String("missing") })
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing")

	epoch := w.epoch("orders")
	out, err = update(func(in *lambda.UpdateFunctionCodeInput) { in.Publish = true })
	if err != nil || *out.Version != "1" || *out.FunctionArn != ordersARN+":1" || out.State != types.StatePending || out.LastUpdateStatus != "" {
		t.Errorf("update with Publish: %+v, %v", out, err) // C-040
	}
	_, err = update(func(in *lambda.UpdateFunctionCodeInput) {})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: "+ordersARN) // C-039
	_, err = w.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: "+ordersARN)
	if got := w.epoch("orders"); got != epoch { // the code of before serves
		t.Errorf("the epoch is %d during the update, was %d", got, epoch)
	}
	w.updated("orders")
	after := w.epoch("orders")
	if after <= epoch {
		t.Errorf("epoch %d after the update, was %d", after, epoch)
	}
	retired := retirement{ordersARN, "$LATEST", after}
	for end := time.Now().Add(time.Minute); !slices.Contains(w.runner.retirements(), retired); time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // it comes after the update was reported
			t.Fatalf("retired %v", w.runner.retirements())
		}
	}
	v, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: aws.String("1")})
	if err != nil || v.State != types.StateActive || v.LastUpdateStatus != types.LastUpdateStatusSuccessful || *v.CodeSha256 == old {
		t.Errorf("version 1: %+v, %v", v, err)
	}
	if out, err = update(func(in *lambda.UpdateFunctionCodeInput) {}); err != nil || *out.CodeSha256 != *v.CodeSha256 {
		t.Errorf("the same code again: %v", err)
	}
	w.updated("orders")
	for end := time.Now().Add(time.Minute); len(w.leftovers()) != 3; time.Sleep(time.Millisecond) { // one blob, one file, and what the file is checked against
		if time.Now().After(end) { // what was before goes after the update was reported
			t.Fatalf("left: %q", w.leftovers())
		}
	}
}

// epoch is of what an invocation of a function gets now.
func (w *world) epoch(name string) uint64 {
	w.t.Helper()
	if _, err := w.client.Invoke(w.t.Context(), &lambda.InvokeInput{FunctionName: aws.String(name)}); err != nil {
		w.t.Fatal(err)
	}
	return w.runner.last(w.t).Version.Epoch
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestARuntimeThatIsNotInstalled(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const text = "runtime python3.13 is not installed: Python 3.13 is missing; type: thaw runtime install python3.13"
	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Runtime = "python3.13" })
	_, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders")}) // waits for the end of Pending
	// Not the InvalidRuntimeException of spec 1.4: clients send again what was answered 502.
	const refusal = "The operation cannot be performed at this time. The function is currently in the following state: Failed (" + text + ")"
	wantError(t, err, "ResourceConflictException", refusal)
	var sent atomic.Int64
	patient := newClient(w.url, transportFunc(func(r *http.Request) (*http.Response, error) { sent.Add(1); return http.DefaultTransport.RoundTrip(r) }), region)
	_, err = patient.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders")}, func(o *lambda.Options) { o.RetryMaxAttempts = 5 })
	wantError(t, err, "ResourceConflictException", refusal)
	if sent.Load() != 1 {
		t.Errorf("AWS's client sends it %d times", sent.Load())
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	got, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders")})
	if err != nil || got.State != types.StateFailed || got.StateReasonCode != types.StateReasonCodeInvalidRuntime || *got.StateReason != text {
		t.Errorf("state: %+v, %v", got, err)
	}
	// It can be changed into one that works.
	update := func(r types.Runtime) {
		t.Helper()
		if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Runtime: r}); err != nil {
			t.Fatal(err)
		}
	}
	update(types.RuntimeNodejs22x)
	w.active("orders")
	epoch := w.epoch("orders")
	// And back: the update fails, what was before goes on serving.
	update("python3.13")
	var failed *types.FunctionConfiguration
	for failed == nil || failed.LastUpdateStatus == types.LastUpdateStatusInProgress {
		out, err := w.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		failed = out.Configuration
	}
	if failed.State != types.StateActive || failed.LastUpdateStatus != types.LastUpdateStatusFailed || failed.LastUpdateStatusReasonCode != types.LastUpdateStatusReasonCodeInvalidRuntime || *failed.LastUpdateStatusReason != text {
		t.Errorf("failed update: %+v", failed)
	}
	if w.epoch("orders") != epoch || w.runner.last(t).Version.Runtime != "nodejs22.x" {
		t.Error("a failed update does not leave the configuration of before serving")
	}
	update(types.RuntimeNodejs24x)
	w.updated("orders")
	if w.epoch("orders") <= epoch || w.runner.last(t).Version.Runtime != "nodejs24.x" {
		t.Error("an update after a failed one does not serve")
	}
}

func TestDeleteAndCreateAgain(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	var epoch uint64
	for round := range 3 {
		w.create("orders", func(in *lambda.CreateFunctionInput) { in.Publish = true })
		w.active("orders")
		now := w.epoch("orders")
		if now <= epoch {
			t.Errorf("epoch %d in round %d, after %d", now, round, epoch)
		}
		if v := w.epoch("orders:1"); v <= epoch {
			t.Errorf("epoch of version 1 is %d in round %d, after %d", v, round, epoch)
		}
		if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
			t.Fatal(err)
		}
		all := w.runner.retirements()
		if last := all[len(all)-1]; last.ARN != ordersARN || last.Number != "" || last.Before <= now {
			t.Errorf("retired %+v, the epoch was %d", last, now)
		}
		epoch = all[len(all)-1].Before
	}
	if left := w.leftovers(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestSignaturesAreVerified(t *testing.T) { // C-131, C-134, C-135 for Go
	w := newWorld(t, func(o *options) {
		o.Verify = true
		o.Credentials = []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}
	})
	w.create("orders")
	w.active("orders")
	for _, name := range []string{"orders", "orders:$LATEST", ordersARN, ordersARN + ":$LATEST"} {
		if _, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Qualifier: aws.String("$LATEST"), Payload: []byte(`{"ä":1}`)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.client.UntagResource(t.Context(), &lambda.UntagResourceInput{Resource: aws.String(ordersARN), TagKeys: []string{"b c", "a", "ä"}}); err != nil {
		t.Error(err)
	}
	got := w.do("GET", base+"/orders", "")
	if got.status != 403 {
		t.Errorf("with a made-up signature: %d %s", got.status, got.body)
	}
	if got := w.do("GET", base+"/orders", "", "Authorization", ""); got.status != 403 || got.body != `{"message":"Missing Authentication Token"}` {
		t.Errorf("without a signature: %d %s", got.status, got.body)
	}
}
