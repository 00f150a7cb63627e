package trigger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"thaw/internal/plainjson"
)

// S3Record is what happened to one object, as a server of objects tells it.
type S3Record struct {
	Name      string // ObjectCreated:Put, without s3:
	Time      time.Time
	Region    string
	Principal string // whoever did it
	SourceIP  string
	RequestID string
	HostID    string // x-amz-id-2
	// Configuration names what of the bucket asked for notifications.
	Configuration string
	Bucket        string
	Owner         string // of the bucket
	Key           string // as the object is named: not escaped
	Size          *int64 // nil: it is gone
	ETag          string
	Version       string // of versioned buckets
	Sequencer     string // hexadecimal; of one key, a later event has a larger one
	// Restored is what happened to an object in an archive.
	Restored json.RawMessage
}

// The form of the record. The order of the members is the service's. Source: docs/spec/event-sources.md, 10.
type (
	s3Event struct {
		Records []s3Record `json:"Records"`
	}
	s3Record struct {
		EventVersion      string          `json:"eventVersion"`
		EventSource       string          `json:"eventSource"`
		AWSRegion         string          `json:"awsRegion"`
		EventTime         string          `json:"eventTime"`
		EventName         string          `json:"eventName"`
		UserIdentity      s3Principal     `json:"userIdentity"`
		RequestParameters s3Request       `json:"requestParameters"`
		ResponseElements  s3Answer        `json:"responseElements"`
		S3                s3Part          `json:"s3"`
		Glacier           json.RawMessage `json:"glacierEventData,omitempty"`
	}
	s3Principal struct {
		ID string `json:"principalId"`
	}
	s3Answer struct {
		RequestID string `json:"x-amz-request-id"`
		HostID    string `json:"x-amz-id-2"`
	}
	s3Request struct {
		SourceIP string `json:"sourceIPAddress"`
	}
	s3Part struct {
		SchemaVersion string   `json:"s3SchemaVersion"`
		Configuration string   `json:"configurationId"`
		Bucket        s3Bucket `json:"bucket"`
		Object        s3Object `json:"object"`
	}
	s3Bucket struct {
		Name  string      `json:"name"`
		Owner s3Principal `json:"ownerIdentity"`
		ARN   string      `json:"arn"`
	}
	s3Object struct {
		Key       string    `json:"key"`
		Size      *s3Number `json:"size,omitempty"`
		ETag      string    `json:"eTag,omitempty"`
		Version   string    `json:"versionId,omitempty"`
		Sequencer string    `json:"sequencer,omitempty"`
	}
)

// s3Number is a number that some servers write as text.
type s3Number int64

// UnmarshalJSON takes 1024 and "1024".
func (n *s3Number) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(bytes.Trim(b, `"`), (*int64)(n))
}

const s3Time = "2006-01-02T15:04:05.000Z"

// ErrNoNotification says that a body is no notification of S3.
var ErrNoNotification = errors.New("it is no notification of S3: JSON with Records of eventName and s3 is one")

// ParseS3 reads a notification of AWS, MinIO or Ceph, or what SNS has put around one. A test event has no records.
func ParseS3(body []byte) ([]S3Record, error) {
	var in struct {
		Records []s3Record
		// Of a test event, and of a notification that came through a topic.
		Service, Event string
		Type, Message  string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoNotification, err)
	}
	switch {
	case in.Event == "s3:TestEvent":
		return nil, nil
	case in.Type == "Notification" && in.Message != "" && len(in.Records) == 0:
		return ParseS3([]byte(in.Message))
	case len(in.Records) == 0:
		return nil, ErrNoNotification
	}
	records := make([]S3Record, 0, len(in.Records))
	for i := range in.Records {
		r, err := in.Records[i].read()
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		records = append(records, r)
	}
	return records, nil
}

// read is the record without what is only of its form. Servers differ: MinIO writes s3: before the event and escapes
// slashes, Ceph writes the size as text and the key as it is.
func (in *s3Record) read() (r S3Record, err error) {
	r = S3Record{Name: strings.TrimPrefix(in.EventName, "s3:"), Region: in.AWSRegion, Principal: in.UserIdentity.ID,
		SourceIP:  in.RequestParameters.SourceIP,
		RequestID: in.ResponseElements.RequestID, HostID: in.ResponseElements.HostID, Configuration: in.S3.Configuration, Bucket: in.S3.Bucket.Name, Owner: in.S3.Bucket.Owner.ID,
		Key: in.S3.Object.Key, ETag: in.S3.Object.ETag, Version: in.S3.Object.Version, Sequencer: in.S3.Object.Sequencer, Size: (*int64)(in.S3.Object.Size), Restored: in.Glacier}
	if r.Name == "" || r.Bucket == "" || r.Key == "" {
		return r, ErrNoNotification
	}
	if in.EventSource != "ceph:s3" {
		if r.Key, err = url.QueryUnescape(in.S3.Object.Key); err != nil {
			return r, fmt.Errorf("key: %w", err)
		}
	}
	if in.EventTime != "" {
		if r.Time, err = time.Parse(time.RFC3339Nano, in.EventTime); err != nil {
			return r, fmt.Errorf("eventTime: %w", err)
		}
	}
	if r.Removed() {
		r.Size, r.ETag = nil, ""
	}
	return r, nil
}

// Removed says that the object is gone, so it has neither size nor eTag.
func (r *S3Record) Removed() bool {
	kind, _, _ := strings.Cut(r.Name, ":")
	return kind == "ObjectRemoved" || kind == "LifecycleExpiration"
}

// S3Event is the event that a function gets for records.
func S3Event(records ...S3Record) ([]byte, error) {
	out := s3Event{Records: make([]s3Record, 0, len(records))}
	for i := range records {
		out.Records = append(out.Records, records[i].form())
	}
	return plainjson.Marshal(out)
}

func (r *S3Record) form() s3Record {
	return s3Record{EventVersion: "2.1", EventSource: "aws:s3", AWSRegion: r.Region, EventTime: r.Time.UTC().Format(s3Time), EventName: r.Name,
		UserIdentity: s3Principal{r.Principal}, RequestParameters: s3Request{r.SourceIP},
		ResponseElements: s3Answer{r.RequestID, r.HostID}, Glacier: r.Restored,
		S3: s3Part{SchemaVersion: "1.0", Configuration: r.Configuration,
			Bucket: s3Bucket{Name: r.Bucket, Owner: s3Principal{r.Owner}, ARN: "arn:aws:s3:::" + r.Bucket},
			Object: s3Object{Key: escapeKey(r.Key), Size: (*s3Number)(r.Size), ETag: r.ETag, Version: r.Version, Sequencer: r.Sequencer}}}
}

// escapeKey is a key as events have it: a plus for a blank, slashes as they are. S-102.
func escapeKey(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }

// S3Filter says which records somebody wants. Empty members let everything pass.
type S3Filter struct {
	Bucket         string   `json:",omitempty"`
	Events         []string `json:",omitempty"` // s3:ObjectCreated:*, with or without s3:
	Prefix, Suffix string   `json:",omitempty"` // of the key
}

// Wants says whether a record passes.
func (f *S3Filter) Wants(r *S3Record) bool {
	if f.Bucket != "" && f.Bucket != r.Bucket || !strings.HasPrefix(r.Key, f.Prefix) || !strings.HasSuffix(r.Key, f.Suffix) {
		return false
	}
	for _, e := range f.Events {
		if covers(strings.TrimPrefix(e, "s3:"), r.Name) {
			return true
		}
	}
	return len(f.Events) == 0
}

// covers says whether an event of a configuration is about one that happened: ObjectCreated:* about ObjectCreated:Put.
func covers(event, happened string) bool {
	if kind, all := strings.CutSuffix(event, "*"); all {
		return strings.HasPrefix(happened, kind)
	}
	return event == happened
}

// s3Kinds are the kinds of events that a filter can ask for. Source: S3 User Guide, "Event notification types".
var s3Kinds = []string{"ObjectCreated", "ObjectRemoved", "ObjectRestore", "ObjectTagging", "ObjectAcl", "ObjectAccessed",
	"LifecycleExpiration", "LifecycleTransition",
	"IntelligentTiering", "ReducedRedundancyLostObject", "Replication", "ObjectLifecycle", "ObjectSynced", "BucketCreated", "BucketRemoved"}

// Check says what is wrong with a filter.
func (f *S3Filter) Check() error {
	for _, e := range f.Events {
		kind, _, _ := strings.Cut(strings.TrimPrefix(e, "s3:"), ":")
		if kind != "*" && !slices.Contains(s3Kinds, kind) {
			return fmt.Errorf("%q is no event of S3: ObjectCreated:* and ObjectRemoved:Delete are some", e)
		}
	}
	return nil
}
