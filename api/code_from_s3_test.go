package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	objects "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"thaw/internal/wholebody"
)

// newBucket starts an S3 server that the server under test finds by the SDK's own configuration. put writes an object
// into its only bucket, "code".
func newBucket(t *testing.T) (put func(key string, b []byte) (version string)) {
	t.Helper()
	srv := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(false)).Server())
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL_S3", srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "us-east-1")
	c := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &srv.URL, UsePathStyle: true, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("code"),
		VersioningConfiguration: &objects.VersioningConfiguration{Status: objects.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	return func(key string, b []byte) string {
		t.Helper()
		out, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("code"), Key: &key, Body: bytes.NewReader(b)})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.VersionId)
	}
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// The code is the object as it was at the call; what becomes of the object later has no effect.
func TestCodeFromS3(t *testing.T) { // C-034, C-044
	put := newBucket(t)
	w := newWorld(t)
	first, second := zipOf(t, "index.js", "1"), zipOf(t, "index.js", "2")
	version := put("orders.zip", first)
	out := w.create("orders", func(in *lambda.CreateFunctionInput) {
		in.Code = &types.FunctionCode{S3Bucket: aws.String("code"), S3Key: aws.String("orders.zip")}
	})
	if *out.CodeSha256 != sha(first) || out.CodeSize != int64(len(first)) {
		t.Errorf("created with %s, %d bytes", *out.CodeSha256, out.CodeSize)
	}
	put("orders.zip", second)
	update := func(in lambda.UpdateFunctionCodeInput) *lambda.UpdateFunctionCodeOutput {
		t.Helper()
		w.updated("orders")
		in.FunctionName, in.S3Bucket, in.S3Key = aws.String("orders"), aws.String("code"), aws.String("orders.zip")
		out, err := w.client.UpdateFunctionCode(t.Context(), &in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := update(lambda.UpdateFunctionCodeInput{DryRun: true}); *out.CodeSha256 != sha(second) {
		t.Errorf("a dry run answers %s", *out.CodeSha256)
	}
	if got := w.active("orders").Configuration; *got.CodeSha256 != sha(first) {
		t.Errorf("a dry run changed the code to %s", *got.CodeSha256)
	}
	if out := update(lambda.UpdateFunctionCodeInput{Publish: true}); *out.CodeSha256 != sha(second) || *out.Version != "1" {
		t.Errorf("the latest object: %s, version %s", *out.CodeSha256, *out.Version)
	}
	if out := update(lambda.UpdateFunctionCodeInput{S3ObjectVersion: &version}); *out.CodeSha256 != sha(first) {
		t.Errorf("the version of an object: %s", *out.CodeSha256)
	}
}

func TestCodeFromS3IsRefused(t *testing.T) { // C-034
	put := newBucket(t)
	w := newWorld(t)
	put("words.zip", []byte("no archive"))
	before := w.leftovers()
	for _, c := range []struct{ bucket, key, message string }{
		{"code", "missing.zip", "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."},
		{"nowhere", "orders.zip", "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist"},
		{"code", "words.zip", "Could not unzip uploaded file. Please check your file, then try to upload again."},
	} {
		in := createInput(t, "refused")
		in.Code = &types.FunctionCode{S3Bucket: &c.bucket, S3Key: &c.key}
		_, err := w.client.CreateFunction(t.Context(), in)
		wantError(t, err, "InvalidParameterValueException", c.message)
	}
	if after := w.leftovers(); len(after) != len(before) {
		t.Errorf("left behind: %q, before there was %q", after, before)
	}
}
