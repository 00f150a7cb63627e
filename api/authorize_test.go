package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"thaw/access"
	"thaw/api"
	"thaw/internal/wholebody"
)

const (
	stranger = "222222222222"
	oneARN   = "arn:aws:lambda:eu-west-1:000000000000:function:one"
)

// withKeys is a world whose requests are signed, and its folder of keys. Its own client signs as root.
func withKeys(t *testing.T) (*world, *access.Store) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "access")
	keys, err := access.Open(access.Options{Dir: dir, Account: account, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *options) {
		o.Verify, o.Credentials, o.Access = true, []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}, keys
	})
	return w, keys
}

// as is a client with a key of a user that has a policy of one statement.
func (w *world) as(keys *access.Store, k access.Key, statement string) *lambda.Client {
	w.t.Helper()
	k.Policy = []byte(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)
	k, secret, err := keys.AddKey(k)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signing(k.ID, secret, "")
}

func (w *world) signing(id, secret, token string) *lambda.Client {
	return lambda.New(lambda.Options{Region: region, BaseEndpoint: &w.url, RetryMaxAttempts: 1, HTTPClient: wholebody.Client(&http.Client{Transport: w.transport()}),
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
}

// ready creates a function and a first version of it.
func (w *world) ready(name string) {
	w.t.Helper()
	w.create(name)
	w.active(name)
	if _, err := w.client.PublishVersion(w.t.Context(), &lambda.PublishVersionInput{FunctionName: &name}); err != nil {
		w.t.Fatal(err)
	}
}

// callURL calls a function's URL by its path form, signed; the function answers with what it got.
func (w *world) callURL(at string, key aws.Credentials) (status int, body string) {
	w.t.Helper()
	id, _, _ := strings.Cut(strings.TrimPrefix(at, "http://"), ".")
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/lambda-url/"+id+"/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	if err := signer.NewSigner().SignHTTP(w.t.Context(), key, r, hex.EncodeToString(sum[:]), "lambda", region, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: w.transport()}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (w *world) transport() *http.Transport {
	tr := &http.Transport{}
	w.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// denied fails the test unless an error is AWS's of that text; an empty one means allowed.
func denied(t *testing.T, what string, err error, want string) {
	t.Helper()
	var e smithy.APIError
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want == "":
	case !errors.As(err, &e) || e.ErrorCode() != "AccessDeniedException" || e.ErrorMessage() != want:
		t.Errorf("%s: %v\nwant %s", what, err, want)
	}
}

func none(action, resource, who string) string {
	return "User: " + who + " is not authorized to perform: " + action + " on resource: " + resource + " because no identity-based policy allows the " + action + " action"
}

// A key may be allowed to invoke one function only; everything else gets AWS's 403. Control plane reference, 21.4.
func TestKeysMayDoWhatTheirPolicySays(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	w.ready("one")
	w.create("two")
	w.active("two")
	const bob = "arn:aws:iam::000000000000:user/bob"
	c := w.as(keys, access.Key{User: "bob"}, `{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":["`+oneARN+`","`+oneARN+`:*"]},
		{"Effect":"Deny","Action":"lambda:*","Resource":"`+oneARN+`:1"}`)
	ctx := t.Context()
	invoke := func(c *lambda.Client, name string) error {
		_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{}`)})
		return err
	}
	denied(t, "the function", invoke(c, "one"), "")
	denied(t, "its ARN with $LATEST", invoke(c, oneARN+":$LATEST"), "")
	denied(t, "another", invoke(c, "two"), none("lambda:InvokeFunction", strings.Replace(oneARN, "one", "two", 1), bob))
	denied(t, "one that is not there", invoke(c, "three"), none("lambda:InvokeFunction", strings.Replace(oneARN, "one", "three", 1), bob))
	denied(t, "a version that is denied", invoke(c, "one:1"), "User: "+bob+" is not authorized to perform: lambda:InvokeFunction on resource: "+oneARN+":1 with an explicit deny in an identity-based policy")
	_, err := c.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("one")})
	denied(t, "GetFunction", err, none("lambda:GetFunction", oneARN, bob))
	_, err = c.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	denied(t, "ListFunctions", err, none("lambda:ListFunctions", "*", bob))
	_, err = c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("one")})
	denied(t, "DeleteFunction", err, none("lambda:DeleteFunction", oneARN, bob))
	_, err = c.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("two")})
	denied(t, "a stream", err, none("lambda:InvokeFunction", strings.Replace(oneARN, "one", "two", 1), bob))

	// A qualifier that an operation does not know changes nothing about what it is about.
	sly := w.as(keys, access.Key{User: "sly"}, `{"Effect":"Allow","Action":"*","Resource":"`+oneARN+`:live"}`)
	_, err = sly.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("one:live"), ReservedConcurrentExecutions: aws.Int32(1)})
	denied(t, "a name with a qualifier", err, none("lambda:PutFunctionConcurrency", oneARN, "arn:aws:iam::000000000000:user/sly"))

	// Whoever gives a function a role, or a layer, must be allowed to.
	maker := w.as(keys, access.Key{User: "maker"}, `{"Effect":"Allow","Action":"lambda:*","Resource":"`+strings.Replace(oneARN, "one", "mine-*", 1)+`","Condition":{"Null":{"lambda:Layer":"true"}}},
		{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::000000000000:role/weak","Condition":{"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}}}`)
	make := func(name, role string, layers ...string) error {
		_, err := maker.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &name, Role: aws.String("arn:aws:iam::000000000000:role/" + role), Runtime: types.RuntimeNodejs22x,
			Handler: aws.String("i.h"), Layers: layers, Code: &types.FunctionCode{ZipFile: zipOf(t, "i.js", "1")}})
		return err
	}
	denied(t, "a role that may be passed", make("mine-1", "weak"), "")
	denied(t, "a role that may not", make("mine-2", "strong"), none("iam:PassRole", "arn:aws:iam::000000000000:role/strong", "arn:aws:iam::000000000000:user/maker"))
	denied(t, "a layer, which the condition excludes", make("mine-3", "weak", "arn:aws:lambda:eu-west-1:000000000000:layer:l:1"),
		none("lambda:CreateFunction", strings.Replace(oneARN, "one", "mine-3", 1), "arn:aws:iam::000000000000:user/maker"))

	// A key that is removed opens nothing any more; nor does the wrong secret.
	k, secret, err := keys.AddKey(access.Key{User: "gone", Policy: []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	gone := w.signing(k.ID, secret, "")
	denied(t, "a new key", invoke(gone, "one"), "")
	if err := keys.RemoveKey(k.ID); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*lambda.Client{"UnrecognizedClientException": gone, "InvalidSignatureException": w.signing(keys.Keys()[0].ID, "wrong", "")} {
		var e smithy.APIError
		if err := invoke(c, "one"); !errors.As(err, &e) || e.ErrorCode() != what {
			t.Errorf("%v, want %s", err, what)
		}
	}
}

// Resource policies decide for principals of other accounts, of the function, a version or an alias each for itself.
func TestResourcePoliciesBetweenAccounts(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	w.ready("one")
	ctx := t.Context()
	if _, err := w.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("one"), Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	c := w.as(keys, access.Key{User: "eve", Account: stranger, Organization: "o-1234567890"}, `{"Effect":"Allow","Action":"lambda:*","Resource":"*"}`)
	weak := w.as(keys, access.Key{User: "weak", Account: stranger}, `{"Effect":"Allow","Action":"lambda:GetFunction","Resource":"*"}`)
	invoke := func(c *lambda.Client, name string) error {
		_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{}`)})
		return err
	}
	noResource := func(arn string) string {
		return "User: arn:aws:iam::222222222222:user/eve is not authorized to perform: lambda:InvokeFunction on resource: " + arn + " because no resource-based policy allows the lambda:InvokeFunction action"
	}
	allow := func(id, qualifier string, in lambda.AddPermissionInput) {
		t.Helper()
		in.FunctionName, in.StatementId, in.Action = aws.String("one"), &id, aws.String("lambda:InvokeFunction")
		if qualifier != "" {
			in.Qualifier = &qualifier
		}
		if _, err := w.client.AddPermission(ctx, &in); err != nil {
			t.Fatal(err)
		}
	}
	denied(t, "before", invoke(c, oneARN), noResource(oneARN))
	allow("a", "live", lambda.AddPermissionInput{Principal: aws.String(stranger)})
	denied(t, "the alias", invoke(c, oneARN+":live"), "")
	denied(t, "the function, when the alias allows", invoke(c, oneARN), noResource(oneARN))
	denied(t, "the version, when the alias allows", invoke(c, oneARN+":1"), noResource(oneARN+":1"))
	denied(t, "a key that its own policy does not allow", invoke(weak, oneARN+":live"), none("lambda:InvokeFunction", oneARN+":live", "arn:aws:iam::222222222222:user/weak"))
	allow("b", "", lambda.AddPermissionInput{Principal: aws.String("*"), PrincipalOrgID: aws.String("o-other00000")})
	denied(t, "another organization", invoke(c, oneARN), noResource(oneARN))
	allow("c", "", lambda.AddPermissionInput{Principal: aws.String("*"), PrincipalOrgID: aws.String("o-1234567890")})
	denied(t, "its organization", invoke(c, oneARN), "")
	allow("d", "1", lambda.AddPermissionInput{Principal: aws.String("arn:aws:iam::222222222222:user/eve"), SourceArn: aws.String("arn:aws:s3:::photos")})
	denied(t, "without the source", invoke(c, oneARN+":1"), noResource(oneARN+":1"))

	// A bare name is one of the sender's own account, of which there is nothing here.
	var missing *types.ResourceNotFoundException
	if err := invoke(c, "one"); !errors.As(err, &missing) || !strings.HasSuffix(missing.ErrorMessage(), "Function not found: arn:aws:lambda:eu-west-1:222222222222:function:one") {
		t.Errorf("a bare name: %v", err)
	}
	if _, err := c.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: aws.String("new"), Role: aws.String(role), Code: &types.FunctionCode{ZipFile: []byte("x")}}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a function in another account: %v", err)
	}

	// A user of the account that only the function's policy allows needs no policy of its own for it.
	own := w.as(keys, access.Key{User: "own"}, `{"Effect":"Deny","Action":"lambda:Delete*","Resource":"*"}`)
	denied(t, "a user before", invoke(own, "one:1"), none("lambda:InvokeFunction", oneARN+":1", "arn:aws:iam::000000000000:user/own"))
	allow("e", "1", lambda.AddPermissionInput{Principal: aws.String("arn:aws:iam::000000000000:user/own")})
	denied(t, "a user that the function names", invoke(own, "one:1"), "")
}

// Layers are read by another account where their policy says so.
func TestLayersOfOtherAccounts(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	ctx := t.Context()
	out, err := w.client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: aws.String("libs"), Content: &types.LayerVersionContentInput{ZipFile: zipOf(t, "a", "b")}})
	if err != nil {
		t.Fatal(err)
	}
	c := w.as(keys, access.Key{User: "eve", Account: stranger}, `{"Effect":"Allow","Action":"lambda:*","Resource":"*"}`)
	read := func() error {
		_, err := c.GetLayerVersionByArn(ctx, &lambda.GetLayerVersionByArnInput{Arn: out.LayerVersionArn})
		return err
	}
	denied(t, "before", read(), "User: arn:aws:iam::222222222222:user/eve is not authorized to perform: lambda:GetLayerVersion on resource: "+*out.LayerVersionArn+
		" because no resource-based policy allows the lambda:GetLayerVersion action")
	if _, err := w.client.AddLayerVersionPermission(ctx, &lambda.AddLayerVersionPermissionInput{LayerName: aws.String("libs"), VersionNumber: aws.Int64(1), StatementId: aws.String("x"),
		Action: aws.String("lambda:GetLayerVersion"), Principal: aws.String(stranger)}); err != nil {
		t.Fatal(err)
	}
	denied(t, "after", read(), "")
}

// C-116, C-135: who may call a URL with AWS_IAM, and what the function hears of the caller.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	w.create("one")
	w.active("one")
	ctx := t.Context()
	u, err := w.client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: aws.String("one"), AuthType: types.FunctionUrlAuthTypeAwsIam})
	if err != nil {
		t.Fatal(err)
	}
	key := func(account, statement string) aws.Credentials {
		t.Helper()
		k, secret, err := keys.AddKey(access.Key{User: "u", Account: account, Policy: []byte(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)})
		if err != nil {
			t.Fatal(err)
		}
		return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: secret}
	}
	call := func(k aws.Credentials) int {
		t.Helper()
		status, _ := w.callURL(*u.FunctionUrl, k)
		return status
	}
	const both = `{"Effect":"Allow","Action":["lambda:InvokeFunction","lambda:InvokeFunctionUrl"],"Resource":"*","Condition":{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}}`
	if got := call(key("", both)); got != 200 {
		t.Errorf("both permissions: %d", got)
	}
	if got := call(key("", strings.Replace(both, `"lambda:InvokeFunction",`, "", 1))); got != 403 {
		t.Errorf("one permission: %d", got)
	}
	if got := call(key("", strings.Replace(both, `"Bool":{"lambda:InvokedViaFunctionUrl":"true"}`, `"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}`, 1))); got != 403 {
		t.Errorf("another auth type: %d", got)
	}
	eve := key(stranger, both)
	if got := call(eve); got != 403 {
		t.Errorf("another account: %d", got)
	}
	for id, in := range map[string]*lambda.AddPermissionInput{
		"a": {Action: aws.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: types.FunctionUrlAuthTypeAwsIam},
		"b": {Action: aws.String("lambda:InvokeFunction"), InvokedViaFunctionUrl: aws.Bool(true)},
	} {
		in.FunctionName, in.StatementId, in.Principal = aws.String("one"), &id, aws.String(stranger)
		if _, err := w.client.AddPermission(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	if status, event := w.callURL(*u.FunctionUrl, eve); status != 200 || !strings.Contains(event, `"accountId":"222222222222"`) || !strings.Contains(event, `"userArn":"arn:aws:iam::222222222222:user/u"`) {
		t.Errorf("another account that the function allows: %d %s", status, event)
	}
}

// The first key makes signatures needed, on a server that took requests without; and they stay needed without a key.
func TestFirstKeyWantsSignatures(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "access")
	keys, err := access.Open(access.Options{Dir: dir, Account: account, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	guarded := errors.New("guarded")
	w := newWorld(t, func(o *options) {
		o.Access = keys
		o.Guard = func(*http.Request) error { return guarded }
	})
	list := func(c *lambda.Client) error {
		_, err := c.ListFunctions(context.Background(), &lambda.ListFunctionsInput{})
		return err
	}
	if err := list(w.client); err == nil || !strings.Contains(err.Error(), "guarded") {
		t.Errorf("before: %v", err)
	}
	k, secret, err := keys.AddKey(access.Key{User: "a", Policy: []byte(`{"Statement":{"Effect":"Allow","Action":"lambda:List*","Resource":"*"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := list(w.client); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("a made-up key: %v", err)
	}
	if err := list(w.signing(k.ID, secret, "")); err != nil {
		t.Errorf("the key: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "keys", k.ID+".json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of a key: %v %v", info, err)
	}
	if err := keys.RemoveKey(k.ID); err != nil {
		t.Fatal(err)
	}
	if err := list(w.client); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("after the last key: %v", err)
	}
}

// A key may be bound to the event source mappings of one function: of others it changes none, not even to give them to its
// own.
func TestMappingsOfOneFunction(t *testing.T) {
	t.Parallel()
	w, keys := withKeys(t)
	for _, name := range []string{"one", "two"} {
		w.create(name)
		w.active(name)
	}
	w.withSources()
	ctx := t.Context()
	queue := aws.String("arn:aws:sqs:eu-west-1:000000000000:jobs")
	theirs, err := w.client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("two"), EventSourceArn: queue})
	if err != nil {
		t.Fatal(err)
	}
	c := w.as(keys, access.Key{User: "bob"}, `{"Effect":"Allow","Action":"lambda:*","Resource":"*","Condition":{"ArnEquals":{"lambda:FunctionArn":"`+oneARN+`"}}}`)
	const bob = "arn:aws:iam::000000000000:user/bob"
	own, err := c.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("one:$LATEST"), EventSourceArn: queue, Enabled: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{FunctionName: aws.String("two"), EventSourceArn: queue})
	denied(t, "a mapping of another function", err, none("lambda:CreateEventSourceMapping", "*", bob))
	mapping := "arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:"
	_, err = c.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: theirs.UUID, FunctionName: aws.String("one")})
	denied(t, "another's, to its own function", err, none("lambda:UpdateEventSourceMapping", mapping+*theirs.UUID, bob))
	_, err = c.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{UUID: own.UUID, FunctionName: aws.String("two")})
	denied(t, "its own, to another function", err, none("lambda:UpdateEventSourceMapping", mapping+*own.UUID, bob))
	_, err = c.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: theirs.UUID})
	denied(t, "another's", err, none("lambda:DeleteEventSourceMapping", mapping+*theirs.UUID, bob))
	_, err = c.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: own.UUID})
	denied(t, "its own", err, "")
}
