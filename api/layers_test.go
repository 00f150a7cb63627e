package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
)

const layersPath = "/2018-10-31/layers"

func layerARN(region, name string) string {
	return "arn:aws:lambda:" + region + ":000000000000:layer:" + name
}

// publishLayer publishes a layer of files, name by name, and returns its version's ARN.
func (w *world) publishLayer(name string, files ...string) *lambda.PublishLayerVersionOutput {
	w.t.Helper()
	out, err := w.client.PublishLayerVersion(w.t.Context(), &lambda.PublishLayerVersionInput{LayerName: &name, Content: &types.LayerVersionContentInput{ZipFile: zipOf(w.t, files...)}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// C-004, C-121, C-122: a layer from its first version to its last, as a client sees it. Its package comes back as it was
// uploaded. A function keeps a version that was deleted, also over a restart; nobody else gets it.
func TestLayers(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	packed := zipOf(t, "python/lib.py", "x = 1")
	name := aws.String("libs")
	first, err := w.client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: name, Description: aws.String("d"), LicenseInfo: aws.String("MIT"),
		Content: &types.LayerVersionContentInput{ZipFile: packed}, CompatibleRuntimes: []types.Runtime{"python3.12", "nodejs22.x"}, CompatibleArchitectures: []types.Architecture{"x86_64"}})
	if err != nil {
		t.Fatal(err)
	}
	arn := layerARN("eu-west-1", "libs")
	if first.Version != 1 || *first.LayerArn != arn || *first.LayerVersionArn != arn+":1" || first.Content.CodeSize != int64(len(packed)) ||
		len(*first.CreatedDate) != len("2018-11-27T15:10:45.123+0000") || *first.LicenseInfo != "MIT" || len(first.CompatibleRuntimes) != 2 {
		t.Errorf("%+v", first)
	}
	answer, err := http.Get(*first.Content.Location)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(got, packed) {
		t.Errorf("its package comes back as %d bytes, %v", len(got), err)
	}
	second := w.publishLayer(arn, "python/lib.py", "x = 2") // by ARN
	if second.Version != 2 {
		t.Errorf("%+v", second)
	}
	byName, err := w.client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: name, VersionNumber: aws.Int64(1)})
	if err != nil || *byName.LayerVersionArn != arn+":1" || *byName.Content.CodeSha256 != *first.Content.CodeSha256 || *byName.Description != "d" {
		t.Errorf("%+v, %v", byName, err)
	}
	byARN, err := w.client.GetLayerVersionByArn(ctx, &lambda.GetLayerVersionByArnInput{Arn: aws.String(arn + ":1")})
	if err != nil || byARN.Version != 1 || *byARN.Content.CodeSha256 != *first.Content.CodeSha256 {
		t.Errorf("%+v, %v", byARN, err)
	}

	list := func(in lambda.ListLayerVersionsInput) (numbers []int64) {
		in.LayerName, in.MaxItems = name, aws.Int32(1)
		for p := lambda.NewListLayerVersionsPaginator(w.client, &in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page.LayerVersions {
				numbers = append(numbers, v.Version)
			}
		}
		return numbers
	}
	if got := list(lambda.ListLayerVersionsInput{}); !slices.Equal(got, []int64{2, 1}) {
		t.Errorf("versions %v", got)
	}
	if got := list(lambda.ListLayerVersionsInput{CompatibleRuntime: "python3.12", CompatibleArchitecture: "x86_64"}); !slices.Equal(got, []int64{1}) {
		t.Errorf("versions for Python %v", got)
	}
	w.publishLayer("another", "a", "b")
	w.want(w.do("GET", layersPath+"?CompatibleRuntime=nodejs22.x", ""), 200, `{"Layers":[{"LayerName":"libs","LayerArn":"`+arn+`","LatestMatchingVersion":`+
		`{"LayerVersionArn":"`+arn+`:1","Version":1,"Description":"d","CreatedDate":"*","CompatibleRuntimes":["python3.12","nodejs22.x"],"CompatibleArchitectures":["x86_64"],"LicenseInfo":"MIT"}}]}`)
	layers, err := w.client.ListLayers(ctx, &lambda.ListLayersInput{})
	if err != nil || len(layers.Layers) != 2 || *layers.Layers[0].LayerName != "another" || layers.Layers[1].LatestMatchingVersion.Version != 2 {
		t.Errorf("%+v, %v", layers, err)
	}

	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Layers = []string{arn + ":1"} })
	w.active("orders")
	for range 2 { // the second time there is none
		w.want(w.do("DELETE", layersPath+"/libs/versions/1", ""), 204, ``)
	}
	if _, err := w.client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: name, VersionNumber: aws.Int64(1)}); err == nil {
		t.Error("it is there")
	}
	w.reopen()
	f, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders")})
	if err != nil || len(f.Layers) != 1 || *f.Layers[0].Arn != arn+":1" || f.Layers[0].CodeSize != int64(len(packed)) {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Timeout: aws.Int32(5)}); err != nil {
		t.Errorf("a change of something else: %v", err)
	}
	w.updated("orders")
	blob := func() bool {
		return slices.ContainsFunc(w.leftovers(), func(s string) bool { return strings.Contains(s, fmt.Sprintf("%x", sha256.Sum256(packed))) })
	}
	if !blob() {
		t.Error("the package that a function has is gone")
	}
	if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Layers: []string{arn + ":1"}}); err == nil {
		t.Error("a deleted version is used anew")
	}
	if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Layers: []string{}}); err != nil {
		t.Error(err)
	}
	if f := w.updated("orders"); len(f.Configuration.Layers) != 0 {
		t.Errorf("%+v", f.Configuration.Layers)
	}
	for end := time.Now().Add(time.Minute); blob(); time.Sleep(time.Millisecond) { // it goes after the update was reported
		if time.Now().After(end) {
			t.Fatal("the package stays that nobody has")
		}
	}
	w.want(w.do("DELETE", layersPath+"/libs/versions/2", ""), 204, ``)
	w.want(w.do("GET", layersPath+"/libs/versions", ""), 200, `{"LayerVersions":[]}`)
	if third := w.publishLayer("libs", "a", "b"); third.Version != 3 {
		t.Errorf("after all versions were deleted the next one is %d", third.Version)
	}
}

// C-122, C-123 and what else is refused about layers, in the words of the service. Nothing is left of it.
func TestLayerRefusals(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	user := func(key, message string) string { return `{"` + key + `":` + quote(message) + `,"Type":"User"}` }
	arn := layerARN("eu-west-1", "libs")
	w.publishLayer("libs", "a", "1")
	w.publishLayer("libs", "a", "2")
	var six []string
	for i := range 6 {
		six = append(six, *w.publishLayer(fmt.Sprint("l", i), "a", fmt.Sprint(i)).LayerVersionArn)
	}
	before := w.leftovers()
	noResource := user("Message", "The resource you requested does not exist.")
	below := user("message", "Layer Version Cannot be less than 1")
	validation := func(text string) string { return `{"message":` + quote(text) + `}` }
	pattern := `(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)`
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"an unknown layer is listed, C-122", "GET", "/none/versions", "", 200, `{"LayerVersions":[]}`},
		{"an unknown layer is deleted, C-122", "DELETE", "/none/versions/1", "", 204, ``},
		{"an unknown layer is read, C-122", "GET", "/none/versions/1", "", 404, noResource},
		{"an unknown version is read", "GET", "/libs/versions/42", "", 404, noResource},
		{"an unknown version is read by ARN", "GET", "?find=LayerVersion&Arn=" + arn + ":42", "", 404, noResource},
		{"version 0", "GET", "/libs/versions/0", "", 400, below},
		{"version -1 of what is not there", "DELETE", "/none/versions/-1", "", 400, below},
		{"an ARN without a number", "GET", "?find=LayerVersion&Arn=" + arn, "", 400, validation("1 validation error detected: Value '" + arn + "' at 'arn' failed to satisfy constraint: Member must satisfy regular expression pattern: " + pattern)},
		{"no content", "POST", "/libs/versions", `{}`, 400, validation("1 validation error detected: Value null at 'content' failed to satisfy constraint: Member must not be null")},
		{"no zip", "POST", "/libs/versions", `{"Content":{"ZipFile":"aGVsbG8="}}`, 400, user("message", "Could not unzip uploaded file. Please check your file, then try to upload again.")},
		{"a bad architecture", "POST", "/libs/versions", `{"Content":{"ZipFile":"aGVsbG8="},"CompatibleArchitectures":["x"]}`, 400,
			validation("1 validation error detected: Value '[x]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]")},
		{"a bad architecture in a list", "GET", "?CompatibleArchitecture=x", "", 400,
			validation("1 validation error detected: Value 'x' at 'compatibleArchitecture' failed to satisfy constraint: Member must satisfy enum value set: [x86_64, arm64]")},
		{"a policy that is not there", "GET", "/libs/versions/1/policy", "", 404, user("Message", "No policy is associated with the given resource.")},
		{"the policy of a version that is not there", "GET", "/libs/versions/42/policy", "", 404, user("Message", "Layer version "+arn+":42 does not exist.")},
		{"another action", "POST", "/libs/versions/1/policy", `{"StatementId":"s","Action":"*","Principal":"*"}`, 400,
			validation("1 validation error detected: Value '*' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: lambda:GetLayerVersion")},
		{"a statement that is not there", "DELETE", "/libs/versions/1/policy/s", "", 404, user("Message", "Statement s is not found in resource policy.")},
	} {
		t.Run(c.name, func(t *testing.T) { w.want(w.do(c.method, layersPath+c.path, c.body), c.status, c.want) })
	}
	for _, c := range []struct {
		name   string
		layers []string
		code   string
		want   string
	}{
		{"six layers, C-123", six, "InvalidParameterValueException", "Cannot reference more than 5 layers."},
		{"two versions of one, C-123", []string{arn + ":1", arn + ":2"}, "InvalidParameterValueException",
			"Two different versions of the same layer are not allowed to be referenced in the same function. " + arn + ":1 and " + arn + ":2 are versions of the same layer."},
		{"one that is not there, C-123", []string{layerARN("eu-west-1", "none") + ":1"}, "InvalidParameterValueException", "Layer version " + layerARN("eu-west-1", "none") + ":1 does not exist."},
		{"another region, C-123", []string{layerARN("us-east-1", "libs") + ":1"}, "InvalidParameterValueException",
			"Layers are not in the same region as the function. Layers are expected to be in region eu-west-1."},
		{"no number", []string{arn}, "ValidationException", "1 validation error detected: Value '[" + arn + "]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, " +
			"Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: " + pattern + ", Member must not be null]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := createInput(t, "refused")
			in.Layers = c.layers
			_, err := w.client.CreateFunction(t.Context(), in)
			wantError(t, err, c.code, c.want)
		})
	}
	if after := w.leftovers(); !slices.Equal(before, after) {
		t.Errorf("left behind: %q, before there was %q", after, before)
	}
}

// Code and layers together are bounded: at creation, and by each kind of update.
func TestSizeWithLayers(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	big := strings.Repeat("\x00", function.MaxUnzippedBytes/2-50)
	one, two := w.publishLayer("one", "a", big), w.publishLayer("two", "b", big)
	const want = "Unzipped size must be smaller than 262144000 bytes"
	in := createInput(t, "refused")
	in.Layers = []string{*one.LayerVersionArn, *two.LayerVersionArn}
	in.Code = &types.FunctionCode{ZipFile: zipOf(t, "c", strings.Repeat("x", 200))}
	_, err := w.client.CreateFunction(t.Context(), in)
	wantError(t, err, "InvalidParameterValueException", want)
	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Code = &types.FunctionCode{ZipFile: zipOf(t, "c", "x")} })
	w.active("orders")
	name := aws.String("orders")
	update := func(layers ...string) error {
		_, err := w.client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: name, Layers: layers})
		return err
	}
	if err := update(in.Layers...); err != nil {
		t.Fatal(err)
	}
	w.updated("orders")
	_, err = w.client.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: name, ZipFile: in.Code.ZipFile})
	wantError(t, err, "InvalidParameterValueException", want)
}

// The policy of a layer's version: its statements, its revisions.
func TestLayerPolicy(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	arn := *w.publishLayer("libs", "a", "1").LayerVersionArn
	add := func(id, principal string, revision *string) (*lambda.AddLayerVersionPermissionOutput, error) {
		return w.client.AddLayerVersionPermission(ctx, &lambda.AddLayerVersionPermissionInput{LayerName: aws.String("libs"), VersionNumber: aws.Int64(1), StatementId: &id,
			Action: aws.String("lambda:GetLayerVersion"), Principal: &principal, RevisionId: revision})
	}
	one, err := add("all", "*", nil)
	if want := `{"Sid":"all","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion","Resource":"` + arn + `"}`; err != nil || *one.Statement != want {
		t.Fatalf("%+v, %v", one, err)
	}
	_, err = add("all", "*", nil)
	wantError(t, err, "ResourceConflictException", "The statement id (all) provided already exists. Please provide a new statement id, or remove the existing statement.")
	_, err = add("more", "123456789012", aws.String("stale"))
	wantError(t, err, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id")
	two, err := add("more", "123456789012", one.RevisionId)
	if err != nil || *two.RevisionId == *one.RevisionId {
		t.Fatalf("%+v, %v", two, err)
	}
	w.reopen()
	p, err := w.client.GetLayerVersionPolicy(ctx, &lambda.GetLayerVersionPolicyInput{LayerName: aws.String("libs"), VersionNumber: aws.Int64(1)})
	want := `{"Version":"2012-10-17","Id":"default","Statement":[` + *one.Statement + `,{"Sid":"more","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"lambda:GetLayerVersion","Resource":"` + arn + `"}]}`
	if err != nil || *p.Policy != want || *p.RevisionId != *two.RevisionId {
		t.Errorf("%s, %v; want %s", aws.ToString(p.Policy), err, want)
	}
	for _, id := range []string{"all", "more"} {
		if _, err := w.client.RemoveLayerVersionPermission(ctx, &lambda.RemoveLayerVersionPermissionInput{LayerName: aws.String("libs"), VersionNumber: aws.Int64(1), StatementId: &id}); err != nil {
			t.Error(err)
		}
	}
	_, err = w.client.GetLayerVersionPolicy(ctx, &lambda.GetLayerVersionPolicyInput{LayerName: aws.String("libs"), VersionNumber: aws.Int64(1)})
	wantError(t, err, "ResourceNotFoundException", "No policy is associated with the given resource.")
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A layer's package may lie in S3. What is not there is told as for functions.
func TestLayerFromS3(t *testing.T) {
	put := newBucket(t)
	w := quickWorld(t)
	packed := zipOf(t, "python/lib.py", "x = 1")
	version := put("layer.zip", packed)
	put("layer.zip", zipOf(t, "other", "x"))
	publish := func(key string) (*lambda.PublishLayerVersionOutput, error) {
		return w.client.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{LayerName: aws.String("libs"),
			Content: &types.LayerVersionContentInput{S3Bucket: aws.String("code"), S3Key: &key, S3ObjectVersion: &version}})
	}
	if out, err := publish("layer.zip"); err != nil || *out.Content.CodeSha256 != sha(packed) || out.Content.CodeSize != int64(len(packed)) {
		t.Errorf("%+v, %v", out, err)
	}
	version = ""
	if _, err := w.client.PublishLayerVersion(t.Context(), &lambda.PublishLayerVersionInput{LayerName: aws.String("libs"),
		Content: &types.LayerVersionContentInput{S3Bucket: aws.String("code"), S3Key: aws.String("none")}}); err == nil || !strings.Contains(err.Error(), "Error occurred while GetObject. S3 Error Code: NoSuchKey.") {
		t.Errorf("what is not there: %v", err)
	}
}
