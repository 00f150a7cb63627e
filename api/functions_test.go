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
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

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
			"Value non-existent-runtime at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs16.x, nodejs18.x, nodejs20.x, nodejs22.x, nodejs24.x, nodejs26.x, python3.8, python3.9, python3.10, python3.11, python3.12, python3.13, python3.14, python3.15, java8.al2, java8.al2023, java11, java11.al2023, java17, java17.al2023, java21, java25, dotnet6, dotnet8, dotnet10, ruby3.2, ruby3.3, ruby3.4, ruby4.0, provided.al2, provided.al2023] or be a valid ARN"},
		{"a deprecated runtime", func(in *lambda.CreateFunctionInput) { in.Runtime = "go1.x" }, invalid, "The runtime parameter of go1.x is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."},
		{"two architectures, C-033", func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{"x86_64", "arm64"} }, validation, "1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"},
		{"a bad architecture, C-033", func(in *lambda.CreateFunctionInput) { in.Architectures = []types.Architecture{"X86_64"} }, validation, "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"},
		{"a bad role, C-033", func(in *lambda.CreateFunctionInput) { in.Role = aws.String("r1") }, validation, `1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`},
		{"a bad SnapStart", func(in *lambda.CreateFunctionInput) { in.SnapStart = &types.SnapStart{ApplyOn: "invalidOption"} }, validation, "1 validation error detected: Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]"},
		{"levels with text, C-125", func(in *lambda.CreateFunctionInput) {
			in.LoggingConfig = &types.LoggingConfig{LogFormat: "Text", SystemLogLevel: "INFO"}
		}, invalid, `LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.`},
		{"six layers", func(in *lambda.CreateFunctionInput) { in.Layers = make([]string, 6) }, invalid, "Cannot reference more than 5 layers."},
		{"a layer", func(in *lambda.CreateFunctionInput) { in.Layers = []string{"arn:l"} }, invalid, "Layer version arn:l does not exist."},
		{"51 tags, C-120", func(in *lambda.CreateFunctionInput) { in.Tags = tags }, invalid, "Number of tags exceeds resource tag limit."},
		{"code in S3", func(in *lambda.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: aws.String("b"), S3Key: aws.String("k")}
		}, "NotImplementedException", "Code from S3 (S3Bucket, S3Key): send the package itself as ZipFile; is not implemented by this server yet."},
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
	if got := w.runner.retirements(); !slices.Contains(got, retirement{ordersARN, "$LATEST", after}) {
		t.Errorf("retired %v", got)
	}
	v, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: aws.String("1")})
	if err != nil || v.State != types.StateActive || v.LastUpdateStatus != types.LastUpdateStatusSuccessful || *v.CodeSha256 == old {
		t.Errorf("version 1: %+v, %v", v, err)
	}
	if out, err = update(func(in *lambda.UpdateFunctionCodeInput) {}); err != nil || *out.CodeSha256 != *v.CodeSha256 {
		t.Errorf("the same code again: %v", err)
	}
	w.updated("orders")
	if n := len(w.leftovers()); n != 2 { // one blob, one file
		t.Errorf("left: %q", w.leftovers())
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

func TestVersions(t *testing.T) { // C-053 to C-059
	w := newWorld(t)
	ctx := t.Context()
	created := w.create("orders", func(in *lambda.CreateFunctionInput) { in.Description = aws.String("d") })
	_, err := w.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: "+ordersARN)
	revision := *w.active("orders").Configuration.RevisionId
	publish := func(edit func(*lambda.PublishVersionInput)) (*lambda.PublishVersionOutput, error) {
		in := &lambda.PublishVersionInput{FunctionName: aws.String("orders")}
		edit(in)
		return w.client.PublishVersion(ctx, in)
	}
	_, err = publish(func(in *lambda.PublishVersionInput) { in.CodeSha256 = aws.String("wrong") })
	wantError(t, err, "InvalidParameterValueException", "CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ("+*created.CodeSha256+"). Please try again with the CodeSHA256 in $LATEST.") // C-056
	_, err = publish(func(in *lambda.PublishVersionInput) { in.RevisionId = created.RevisionId })
	wantError(t, err, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")

	epoch := w.epoch("orders")
	one, err := publish(func(in *lambda.PublishVersionInput) {
		in.Description, in.RevisionId, in.CodeSha256 = aws.String("first"), &revision, created.CodeSha256
	})
	if err != nil || *one.Version != "1" || *one.FunctionArn != ordersARN+":1" || *one.Description != "first" || one.State != types.StateActive {
		t.Fatalf("first: %+v, %v", one, err) // C-053
	}
	if got := w.epoch("orders"); got != epoch {
		t.Errorf("publishing changed the epoch of $LATEST from %d to %d", epoch, got)
	}
	again, err := publish(func(in *lambda.PublishVersionInput) { in.Description = aws.String("second") })
	if err != nil || *again.Version != "1" || *again.Description != "first" || *again.RevisionId != *one.RevisionId {
		t.Errorf("without a change: %+v, %v", again, err) // C-054
	}
	change := func(description string) {
		t.Helper()
		if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Description: &description}); err != nil {
			t.Fatal(err)
		}
		w.updated("orders")
	}
	change("changed")
	if two, err := publish(func(*lambda.PublishVersionInput) {}); err != nil || *two.Version != "2" || *two.Description != "changed" {
		t.Errorf("after a change of configuration: %+v, %v", two, err) // C-055
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: aws.String("2")}); err != nil {
		t.Error(err)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: aws.String("2")}); err != nil {
		t.Errorf("a version that is gone: %v", err)
	}
	change("third")
	if three, err := publish(func(*lambda.PublishVersionInput) {}); err != nil || *three.Version != "3" {
		t.Errorf("after a deletion: %+v, %v", three, err) // C-059
	}
	list, err := w.client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: aws.String("orders"), MaxItems: aws.Int32(10000)}) // C-058
	if err != nil {
		t.Fatal(err)
	}
	var arns []string
	for _, v := range list.Versions {
		arns = append(arns, *v.FunctionArn)
		if v.State != "" || v.LastUpdateStatus != "" || v.RuntimeVersionConfig != nil {
			t.Errorf("listed with states: %+v", v)
		}
	}
	if want := []string{ordersARN + ":$LATEST", ordersARN + ":1", ordersARN + ":3"}; !slices.Equal(arns, want) { // C-057
		t.Errorf("versions %v, want %v", arns, want)
	}
	for qualifier, message := range map[string]string{
		"$LATEST": "$LATEST version cannot be deleted without deleting the function.", "live": "Deletion of aliases is not currently supported.",
	} { // C-049
		_, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: &qualifier})
		wantError(t, err, "InvalidParameterValueException", message)
	}
	_, err = w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("missing"), Qualifier: aws.String("1")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing")
}

func TestListFunctionsByPages(t *testing.T) { // C-046, C-047, C-138
	w := newWorld(t)
	ctx := t.Context()
	const n = 55
	for i := range n {
		w.create(fmt.Sprintf("f%02d", i), func(in *lambda.CreateFunctionInput) { in.Publish = i%2 == 0 })
	}
	page := func(marker *string, all bool, size int32) *lambda.ListFunctionsOutput {
		t.Helper()
		in := &lambda.ListFunctionsInput{Marker: marker, MaxItems: &size}
		if all {
			in.FunctionVersion = types.FunctionVersionAll
		}
		out, err := w.client.ListFunctions(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := page(nil, false, 10000)
	if len(first.Functions) != 50 || first.NextMarker == nil {
		t.Fatalf("first page has %d functions", len(first.Functions)) // C-047
	}
	f := first.Functions[0]
	if *f.FunctionArn != "arn:aws:lambda:eu-west-1:000000000000:function:f00" || f.State != "" || f.LastUpdateStatus != "" || f.RuntimeVersionConfig != nil {
		t.Errorf("listed: %+v", f) // C-046
	}
	for _, name := range []string{"f49", "f50"} { // the last of the page and the first of the next: C-138
		if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	second := page(first.NextMarker, false, 50)
	if len(second.Functions) != 4 || *second.Functions[0].FunctionName != "f51" || second.NextMarker != nil {
		t.Errorf("second page has %d functions", len(second.Functions))
	}
	var all []string
	var marker *string
	for {
		p := page(marker, true, 7)
		for _, f := range p.Functions {
			all = append(all, strings.TrimPrefix(*f.FunctionArn, "arn:aws:lambda:eu-west-1:000000000000:function:"))
		}
		if marker = p.NextMarker; marker == nil {
			break
		}
	}
	if !slices.Equal(all[:3], []string{"f00:$LATEST", "f00:1", "f01:$LATEST"}) || len(all) != 53+27 {
		t.Errorf("%d versions: %v", len(all), all)
	}
	out, err := w.client.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	if err != nil || out.AccountUsage.FunctionCount != 53 {
		t.Errorf("account settings: %+v, %v", out, err)
	}
	if _, err := w.client.ListFunctions(ctx, &lambda.ListFunctionsInput{Marker: aws.String("?")}); err == nil {
		t.Error("a broken marker was taken")
	}
}

func TestARuntimeThatIsNotInstalled(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const text = "runtime python3.13 is not installed: Python 3.13 is missing; type: thaw runtime install python3.13"
	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Runtime = "python3.13" })
	_, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders")}) // waits for the end of Pending
	wantError(t, err, "InvalidRuntimeException", text)
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

func TestConcurrency(t *testing.T) { // C-102, C-103, C-104, C-110
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	w.create("other")
	w.active("orders")
	put := func(name string, n int32) error {
		_, err := w.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: &n})
		return err
	}
	get := func() *int32 {
		t.Helper()
		out, err := w.client.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		return out.ReservedConcurrentExecutions
	}
	before := *w.active("orders").Configuration.RevisionId
	w.epoch("orders")
	if l := w.runner.last(t).Limits; l.Reserved != -1 || l.Unreserved != 1000 {
		t.Errorf("limits %+v", l)
	}
	for _, n := range []int32{0, 1, 900} { // C-102
		if err := put("orders", n); err != nil || *get() != n {
			t.Errorf("reserving %d: %v", n, err)
		}
	}
	const tooMuch = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
	wantError(t, put("orders", 901), "InvalidParameterValueException", tooMuch) // C-103
	wantError(t, put("other", 1), "InvalidParameterValueException", tooMuch)
	wantError(t, put("orders:1", 1), "InvalidParameterValueException", "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.") // C-104
	wantError(t, put("missing", 5000), "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing:$LATEST")
	if err := put("orders", 5); err != nil {
		t.Error(err)
	}
	w.epoch("orders")
	if l := w.runner.last(t).Limits; l.Reserved != 5 || l.Unreserved != 995 {
		t.Errorf("limits %+v", l)
	}
	if s, err := w.client.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{}); err != nil || s.AccountLimit.ConcurrentExecutions != 1000 || *s.AccountLimit.UnreservedConcurrentExecutions != 995 || s.AccountUsage.TotalCodeSize == 0 {
		t.Errorf("account settings: %+v, %v", s, err) // C-110
	}
	if got := w.active("orders"); got.Concurrency == nil || *got.Concurrency.ReservedConcurrentExecutions != 5 || *got.Configuration.RevisionId != before { // C-045
		t.Errorf("GetFunction: %+v", got.Concurrency)
	}
	if _, err := w.client.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String("orders")}); err != nil || get() != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
		t.Error(err)
	}
}

func TestTags(t *testing.T) { // C-006, C-045, C-120
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	tag := func(arn string, tags map[string]string) error {
		_, err := w.client.TagResource(ctx, &lambda.TagResourceInput{Resource: &arn, Tags: tags})
		return err
	}
	list := func() map[string]string {
		t.Helper()
		out, err := w.client.ListTags(ctx, &lambda.ListTagsInput{Resource: aws.String(ordersARN)})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tags
	}
	if got := list(); got == nil || len(got) != 0 {
		t.Errorf("tags at first: %v", got)
	}
	if err := tag(ordersARN, map[string]string{"a": "1", "b c": "ä", "d": "3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: aws.String(ordersARN), TagKeys: []string{"a", "b c", "unknown"}}); err != nil {
		t.Error(err)
	}
	if got := list(); len(got) != 1 || got["d"] != "3" {
		t.Errorf("tags: %v", got)
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	const invalid = "InvalidParameterValueException"
	wantError(t, tag(ordersARN, many), invalid, "Number of tags exceeds resource tag limit.")
	wantError(t, tag(ordersARN, map[string]string{}), invalid, "An error occurred and the request cannot be processed.")
	wantError(t, tag(ordersARN+":1", map[string]string{"a": ""}), invalid, "Tags on function aliases and versions are not supported. Please specify a function ARN.")
	wantError(t, tag("arn:aws:lambda:eu-west-1:000000000000:function:missing", map[string]string{"a": ""}), "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing")
	wantError(t, tag("arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:00000000-0000-0000-0000-000000000000", map[string]string{"a": ""}), "ResourceNotFoundException", "Event source mapping not found: arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:00000000-0000-0000-0000-000000000000")
	var ae smithy.APIError
	if err := tag("orders", map[string]string{"a": ""}); !errors.As(err, &ae) || ae.ErrorCode() != "ValidationException" || !strings.Contains(ae.ErrorMessage(), "Value 'orders' at 'resource'") {
		t.Errorf("no ARN: %v", err)
	}
	if got := list(); len(got) != 1 {
		t.Errorf("refused tags were written: %v", got)
	}
}

func TestSmallConfigurations(t *testing.T) { // C-124, C-126
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	if got := w.do("GET", "/2020-06-30/functions/orders/code-signing-config", ""); got.status != 200 || got.body != "{}" {
		t.Errorf("code signing: %d %s", got.status, got.body)
	}
	get := func() types.RecursiveLoop {
		t.Helper()
		out, err := w.client.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		return out.RecursiveLoop
	}
	if got := get(); got != types.RecursiveLoopTerminate {
		t.Errorf("recursion: %s", got)
	}
	_, err := w.client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: aws.String("orders"), RecursiveLoop: "InvalidValue"})
	wantError(t, err, "ValidationException", "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, Allow]")
	if _, err := w.client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: aws.String("orders"), RecursiveLoop: types.RecursiveLoopAllow}); err != nil || get() != types.RecursiveLoopAllow {
		t.Errorf("recursion: %v", err)
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
	w := newWorld(t, func(o *api.Options) {
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
