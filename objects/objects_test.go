package objects_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"thaw/internal/wholebody"
	"thaw/objects"
)

type folders map[string]string

func (f folders) Folder(bucket string) (string, bool) { d, ok := f[bucket]; return d, ok }
func (folders) Wrote(string, string, string)          {}
func (f folders) Folders() (names []string) {
	for n := range f {
		names = append(names, n)
	}
	return names
}

func client(t *testing.T, dir string) *s3.Client {
	t.Helper()
	o := &objects.Server{Buckets: folders{"in-box": dir}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, o.Limit()))
		if err != nil {
			t.Error(err)
		}
		o.Serve(w, r, "", "eu-west-1", body)
	}))
	t.Cleanup(s.Close)
	return s3.New(s3.Options{BaseEndpoint: &s.URL, Region: "eu-west-1", UsePathStyle: true, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("k", "s", "")})
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// AWS's own client writes, reads, lists and deletes the files of a folder, whatever their names; parts of files by
// ranges; and what lies outside of the folder, is hidden or half written is not there.
func TestObjects(t *testing.T) {
	t.Parallel()
	dir, outside, ctx := t.TempDir(), filepath.Join(t.TempDir(), "secret"), t.Context()
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	c, b := client(t, dir), aws.String("in-box")
	keys := []string{"a b+c&ü%2F.txt", "deep/er/x.json", "deep/y", "deep.txt", "z"}
	for _, key := range keys {
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: &key, Body: strings.NewReader("of " + key), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}); err != nil {
			t.Fatal(key, err)
		}
		out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: &key})
		if err != nil {
			t.Fatal(key, err)
		}
		got, err := io.ReadAll(out.Body)
		if err != nil || string(got) != "of "+key {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, keys[0])); err != nil || string(b) != "of "+keys[0] {
		t.Errorf("on the disk: %q, %v", b, err)
	}
	part, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("deep/y"), Range: aws.String("bytes=3-")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(part.Body); err != nil || string(got) != "deep/y" || aws.ToString(part.ContentRange) != "bytes 3-8/9" {
		t.Errorf("%q, %v", got, err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b, Key: aws.String("deep/er/x.json")})
	if err != nil || aws.ToString(head.ContentType) != "application/json" || aws.ToInt64(head.ContentLength) != 17 || len(aws.ToString(head.ETag)) != 34 {
		t.Errorf("%+v, %v", head, err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("z"), IfNoneMatch: aws.String("*")}); err == nil {
		t.Error("a condition is not looked at")
	}
	listing(t, c, b, keys)
	for _, key := range []string{"link", ".hidden", "no", "deep", "../" + filepath.Base(filepath.Dir(outside)) + "/secret", "a//b"} {
		if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: &key}); code(err) == "" {
			t.Errorf("%s can be read: %v", key, err)
		}
	}
	for _, key := range []string{"../x", ".hidden", "a/.b"} {
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: &key, Body: bytes.NewReader(nil)}); code(err) == "" {
			t.Errorf("%s can be written: %v", key, err)
		}
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("z")}); err != nil {
		t.Error(err)
	}
	if _, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: b, Key: aws.String("z")}); err == nil {
		t.Error("z is still there")
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b, Key: aws.String("z")}); err != nil {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("other"), Key: aws.String("z")}); code(err) != "NoSuchBucket" {
		t.Error(err)
	}
	if _, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: b, Key: aws.String("z")}); code(err) != "NotImplemented" {
		t.Error(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: b, Key: aws.String("pipe")}); code(err) != "NoSuchKey" {
		t.Errorf("a pipe: %v", err)
	}
	before := tagOf(t, c, "deep.txt")
	if err := os.WriteFile(filepath.Join(dir, "deep.txt"), []byte("another text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := tagOf(t, c, "deep.txt"); after == before || len(after) != 34 || before != tagOfText("of deep.txt") {
		t.Errorf("eTags %s and %s", before, after)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".thaw-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func tagOfText(text string) string { return fmt.Sprintf("\"%x\"", md5.Sum([]byte(text))) }

func tagOf(t *testing.T, c *s3.Client, key string) string {
	t.Helper()
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("in-box"), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(head.ETag)
}

func listing(t *testing.T, c *s3.Client, b *string, keys []string) {
	t.Helper()
	slices.Sort(keys)
	var got []string
	for p := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: b, MaxKeys: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
		}
	}
	if !slices.Equal(got, keys) {
		t.Errorf("listed %q, want %q", got, keys)
	}
	folded, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: b, Prefix: aws.String("deep"), Delimiter: aws.String("/")})
	if err != nil || len(folded.Contents) != 1 || *folded.Contents[0].Key != "deep.txt" || len(folded.CommonPrefixes) != 1 || *folded.CommonPrefixes[0].Prefix != "deep/" {
		t.Errorf("%+v, %v", folded, err)
	}
	all, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(all.Buckets) != 1 || *all.Buckets[0].Name != "in-box" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: b}); err != nil {
		t.Error(err)
	}
}
