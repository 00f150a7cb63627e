package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"thaw/admin"
	"thaw/eventsource/eventsourcetest"
	"thaw/internal/wholebody"
)

// A real MinIO, told what `thaw trigger add s3` prints, has a function run for what is written into its bucket and deleted.
// The program is the operator's: go install github.com/minio/minio@latest makes it, in a quarter of an hour.
func TestNotificationsOfMinIO(t *testing.T) {
	program, err := exec.LookPath("minio")
	if err != nil {
		t.Skip("there is no program minio in PATH: go install github.com/minio/minio@latest")
	}
	dir := serving(t)
	deploy(t, dir, "hello")
	var hook admin.MadeTrigger
	ran(t, &hook, "trigger", "add", "s3", "images", "--function", "hello", "--bucket", "images", "--event", "s3:ObjectCreated:*", "--event", "s3:ObjectRemoved:*")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(t.Context(), program, "server", t.TempDir(), "--address", at, "--console-address", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER=minioadmin", "MINIO_ROOT_PASSWORD=minioadmin", "MINIO_UPDATE=off",
		"MINIO_NOTIFY_WEBHOOK_ENABLE_thaw=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_thaw="+hook.At, "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_thaw="+hook.Token)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		cmd.Wait()                       //nolint:errcheck // by our signal
		if t.Failed() {
			t.Log(out.String())
		}
	})
	c := s3.New(s3.Options{BaseEndpoint: aws.String("http://" + at), Region: "us-east-1", UsePathStyle: true, HTTPClient: wholebody.Client(nil), Credentials: credentials.NewStaticCredentialsProvider("minioadmin", "minioadmin", "")})
	b, key := aws.String("images"), aws.String("a dir/b+c&ü.txt")
	eventsourcetest.Until(t, "MinIO has a bucket", func() bool {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: b})
		return err == nil
	})
	eventsourcetest.Until(t, "MinIO has found the webhook", func() bool {
		_, err := c.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{Bucket: b, NotificationConfiguration: &types.NotificationConfiguration{
			QueueConfigurations: []types.QueueConfiguration{{QueueArn: aws.String("arn:minio:sqs::thaw:webhook"), Events: []types.Event{types.EventS3ObjectCreated, types.EventS3ObjectRemoved}}}}})
		return err == nil
	})
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: b, Key: key, Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: b, Key: key}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventsourcetest.Until(t, "both notifications have come", func() bool {
		var shown admin.Trigger
		ran(t, &shown, "trigger", "show", "s3/images")
		return shown.Events == 2 && shown.Trouble == ""
	})
	t.Log(fmt.Sprint("after ", time.Since(began).Round(time.Millisecond)))
}
