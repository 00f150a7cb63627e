package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"thaw/api"
	"thaw/internal/wholebody"
	"thaw/objects"
)

type oneFolder string

func (f oneFolder) Folder(string) (string, bool) { return string(f), true }
func (oneFolder) Wrote(string, string, string)   {}
func (oneFolder) Folders() []string              { return nil }

// S3 signs paths as they are sent, and a bucket may be called like a year: its requests are verified, and are not taken
// for Lambda's.
func TestRequestsOfS3(t *testing.T) {
	w := newWorld(t, func(o *options) {
		o.Options.Services = []api.Service{&objects.Server{Buckets: oneFolder(t.TempDir())}}
		o.Verify, o.Credentials = true, []api.Credential{{AccessKeyID: "test", SecretAccessKey: "secret"}}
	})
	with := func(secret string) *s3.Client {
		return s3.New(s3.Options{BaseEndpoint: &w.url, Region: "eu-west-3", UsePathStyle: true, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("test", secret, "")})
	}
	key := aws.String("a b+c&ü%2F/d.txt")
	if _, err := with("secret").PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("2026-in"), Key: key, Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	out, err := with("secret").GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("2026-in"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(out.Body); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	link, err := s3.NewPresignClient(with("secret")).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("2026-in"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Get(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "text" {
		t.Errorf("by a link: %s %q, %v", r.Status, b, err)
	}
	if _, err := with("wrong").GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("2026-in"), Key: key}); err == nil || !strings.Contains(err.Error(), "StatusCode: 403") {
		t.Error(err)
	}
	large := strings.NewReader(strings.Repeat("x", 7<<20)) // more than operations have
	if _, err := with("secret").PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("large"), Body: large}); err != nil {
		t.Error(err)
	}
}
