package eventsource

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"thaw/function"
	"thaw/internal/plainjson"
)

// Failure is what a failure destination is told of records that were given up.
type Failure struct {
	Mapping   *Mapping
	Records   []*Record
	Condition string
	Attempts  int
	RequestID string
	Response  *Response // of the last attempt; nil: there was none, or it says nothing of these records
	At        time.Time
	Member    string          // KinesisBatchInfo ...
	Info      json.RawMessage // its value
	Payload   []byte          // the event
	Object    string          // unique part of an object's key
}

// Response is the end of the last attempt.
type Response struct {
	Status  int
	Version function.VersionNumber
	Error   string // empty: a partial answer
}

// failureTime is how times are written in failure records.
const failureTime = "2006-01-02T15:04:05.000Z"

// Body is the record, members in the order that was recorded. payload: with the event behind, as buckets get it.
// Source: section 1.6.
func (f *Failure) Body(payload bool) []byte {
	type response struct {
		Status  int                    `json:"statusCode"`
		Version function.VersionNumber `json:"executedVersion"`
		Error   *string                `json:"functionError"`
	}
	type request struct {
		ID        string       `json:"requestId"`
		Function  function.ARN `json:"functionArn"`
		Condition string       `json:"condition"`
		Invokes   int          `json:"approximateInvokeCount"`
	}
	var b bytes.Buffer
	b.WriteByte('{')
	member := func(name string, v any) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(plainjson.Value(name))
		b.WriteByte(':')
		b.Write(plainjson.Value(v))
	}
	member("requestContext", request{f.RequestID, f.Mapping.FunctionARN(), f.Condition, f.Attempts})
	switch {
	case f.Response != nil:
		r := response{Status: f.Response.Status, Version: f.Response.Version}
		if f.Response.Error != "" {
			r.Error = &f.Response.Error
		}
		member("responseContext", r)
	case f.Condition == MaximumPayloadSizeExceeded:
		member("responseContext", nil)
	}
	member("version", "1.0")
	member("timestamp", f.At.UTC().Format(failureTime))
	if f.Member != "" {
		member(f.Member, f.Info)
	}
	if payload {
		b.WriteString(`,"payload":`)
		b.Write(f.Payload)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Key is the name of the object that a bucket gets.
func (f *Failure) Key() string {
	at := f.At.UTC()
	shard := ""
	if len(f.Records) > 0 {
		shard = f.Records[0].Shard
	}
	return strings.Join([]string{"aws/lambda", string(f.Mapping.ID), shard, at.Format("2006/01/02"), at.Format("2006-01-02T15.04.05-") + f.Object}, "/")
}
