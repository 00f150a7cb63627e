package trigger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/internal/golden"
	"thaw/internal/plainjson"
)

// As MinIO RELEASE.2026-02-12 sends them.
const (
	minioBody = `{"EventName":"s3:ObjectCreated:Put","Key":"images/a dir/b+c\u0026ü.txt","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventTime":"2026-11-27T15:42:00.508Z","eventName":"s3:ObjectCreated:Put","userIdentity":{"principalId":"minioadmin"},"requestParameters":{"principalId":"minioadmin","region":"","sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-id-2":"5a1ea3663d242aeb5658a269a54d00da92734e87d04fb524a9aca878f61152b7","x-amz-request-id":"18EBF13CF26EADE0","x-minio-deployment-id":"cefeb279-980d-476a-ac9b-2a2eb20179cc","x-minio-origin-endpoint":"http://127.0.0.1:9000"},
"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"images","ownerIdentity":{"principalId":"minioadmin"},"arn":"arn:aws:s3:::images"},"object":{"key":"a+dir%2Fb%2Bc%26%C3%BC.txt","size":3,"eTag":"764efa883dda1e11db47671c4a3bbd9e","contentType":"text/plain","userMetadata":{"content-type":"text/plain"},"sequencer":"18EBF13CF2906A13"}},"source":{"host":"127.0.0.1","port":"","userAgent":"aws-cli/1.46.3"}}]}`
	minioRemoved = `{"EventName":"s3:ObjectRemoved:Delete","Key":"images/a dir/b+c\u0026ü.txt","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventTime":"2026-11-27T15:42:00.508Z","eventName":"s3:ObjectRemoved:Delete","userIdentity":{"principalId":"minioadmin"},"requestParameters":{"principalId":"minioadmin","region":"","sourceIPAddress":"127.0.0.1"},"responseElements":{"content-length":"0","x-amz-id-2":"5a1ea3663d242aeb5658a269a54d00da92734e87d04fb524a9aca878f61152b7","x-amz-request-id":"18EBF13E3E91A8B8","x-minio-deployment-id":"cefeb279-980d-476a-ac9b-2a2eb20179cc","x-minio-origin-endpoint":"http://127.0.0.1:9000"},
"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"images","ownerIdentity":{"principalId":"minioadmin"},"arn":"arn:aws:s3:::images"},"object":{"key":"a+dir%2Fb%2Bc%26%C3%BC.txt","sequencer":"18EBF13E3EF521E3"}},"source":{"host":"127.0.0.1","port":"","userAgent":"aws-cli/1.46.3"}}]}`
)

const cephBody = `{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":"us-east-1","eventTime":"2026-11-22T13:47:35.124724Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"tester"},
"requestParameters":{"sourceIPAddress":""},"responseElements":{"x-amz-request-id":"503a","x-amz-id-2":"14d2"},"s3":{"s3SchemaVersion":"1.0","configurationId":"mynotif1",
"bucket":{"name":"b","ownerIdentity":{"principalId":"tester"},"arn":"arn:aws:s3:us-east-1::b","id":"503a"},"object":{"key":"a dir/b+c&ü.jpg","size":"1024","eTag":"37b5","versionId":"","sequencer":"F7E6","metadata":[],"tags":[]}},
"eventId":"1","opaqueData":"me"}]}`

func awsBody(name, object string) string {
	return `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-west-1","eventTime":"2026-11-20T09:00:00.123Z","eventName":"` + name + `","userIdentity":{"principalId":"AWS:A"},
"requestParameters":{"sourceIPAddress":"10.0.0.1"},"responseElements":{"x-amz-request-id":"r","x-amz-id-2":"h"},"s3":{"s3SchemaVersion":"1.0","configurationId":"theirs",
"bucket":{"name":"b","ownerIdentity":{"principalId":"O"},"arn":"arn:aws:s3:::b"},"object":` + object + `}}]}`
}

// S-102: what servers of objects send becomes the service's event, to the letter: keys escaped with a plus for a blank and
// slashes as they are, no size where the object is gone, no prefix before the event's name.
func TestS3Events(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct{ name, body string }{
		{"AWS", awsBody("ObjectCreated:CompleteMultipartUpload", `{"key":"a+b%26c.txt","size":1024,"eTag":"e-2","versionId":"v","sequencer":"0055AED6DCD90281E5"}`)},
		{"AWS, an empty object", awsBody("ObjectCreated:Put", `{"key":"a/b","size":0,"eTag":"d41d","sequencer":"01"}`)},
		{"AWS, deleted", awsBody("ObjectRemoved:Delete", `{"key":"a/b","sequencer":"02"}`)},
		{"AWS, expired, with a version", awsBody("LifecycleExpiration:DeleteMarkerCreated", `{"key":"a","size":3,"eTag":"e","versionId":"v","sequencer":"02"}`)},
		{"AWS, restored from an archive", strings.Replace(awsBody("ObjectRestore:Completed", `{"key":"a","size":1,"eTag":"e","sequencer":"03"}`), `"s3":{`,
			`"glacierEventData":{"restoreEventData":{"lifecycleRestorationExpiryTime":"1970-01-01T00:01:00.000Z","lifecycleRestoreStorageClass":"GLACIER"}},"s3":{`, 1)},
		{"MinIO", minioBody},
		{"MinIO, deleted", minioRemoved},
		{"Ceph", cephBody},
		{"through a topic", `{"Type":"Notification","MessageId":"m","Message":` + quote(awsBody("ObjectCreated:Put", `{"key":"a","size":1,"eTag":"e","sequencer":"01"}`)) + `}`},
		{"a test event", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-20T09:00:00.000Z","Bucket":"b","RequestId":"r","HostId":"h"}`},
		{"no JSON", `<xml/>`},
		{"another event", `{"Records":[{"eventSource":"aws:sqs","body":"x"}]}`},
		{"no records", `{}`},
		{"a key that is not escaped well", awsBody("ObjectCreated:Put", `{"key":"100%"}`)},
		{"a time that is none", strings.Replace(awsBody("ObjectCreated:Put", `{"key":"a"}`), "2026-11-20T09:00:00.123Z", "yesterday", 1)},
		{"a size that is none", awsBody("ObjectCreated:Put", `{"key":"a","size":"big"}`)},
	} {
		fmt.Fprintf(&out, "# %s\n", c.name)
		records, err := ParseS3([]byte(c.body))
		if err != nil {
			fmt.Fprintf(&out, "refused: %v\n", err)
			continue
		}
		b, err := S3Event(records...)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", b)
	}
	golden.Equal(t, "testdata/s3.golden", out.String())
}

func quote(s string) string {
	b, _ := plainjson.Marshal(s) //nolint:errcheck // a string
	return strings.TrimSpace(string(b))
}

// A configuration of notifications passes what the service's would.
func TestS3Filter(t *testing.T) {
	t.Parallel()
	put := S3Record{Name: "ObjectCreated:Put", Bucket: "b", Key: "in/a b.jpg"}
	for _, c := range []struct {
		f    S3Filter
		want bool
	}{
		{S3Filter{}, true},
		{S3Filter{Bucket: "b", Events: []string{"s3:ObjectCreated:*"}, Prefix: "in/", Suffix: ".jpg"}, true},
		{S3Filter{Events: []string{"ObjectRemoved:*", "ObjectCreated:Put"}}, true},
		{S3Filter{Events: []string{"s3:*"}}, true},
		{S3Filter{Bucket: "c"}, false},
		{S3Filter{Events: []string{"s3:ObjectCreated:Copy"}}, false},
		{S3Filter{Events: []string{"s3:ObjectCreated"}}, false},
		{S3Filter{Prefix: "in/a+b"}, false},
		{S3Filter{Suffix: ".JPG"}, false},
	} {
		if got := c.f.Wants(&put); got != c.want {
			t.Errorf("%+v: %t", c.f, got)
		}
	}
	for _, e := range []string{"s3:ObjectCreated:*", "ObjectRemoved:Delete", "s3:*"} {
		if err := (&S3Filter{Events: []string{e}}).Check(); err != nil {
			t.Error(err)
		}
	}
	if err := (&S3Filter{Events: []string{"put"}}).Check(); err == nil {
		t.Error("put is no event")
	}
}

func FuzzParseS3(f *testing.F) {
	for _, s := range []string{minioBody, cephBody, awsBody("ObjectRemoved:Delete", `{"key":"a"}`), `{"Type":"Notification","Message":"{}"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := ParseS3(body)
		if err != nil {
			if !errors.Is(err, ErrNoNotification) && !strings.HasPrefix(err.Error(), "record ") {
				t.Error(err)
			}
			return
		}
		if len(records) == 0 {
			return
		}
		b, err := S3Event(records...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseS3(b) // what we send can be read, and says the same
		if err != nil || len(again) != len(records) || again[0].Key != records[0].Key {
			t.Errorf("%v: %s", err, b)
		}
	})
}
