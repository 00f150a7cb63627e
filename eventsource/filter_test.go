package eventsource

import (
	"errors"
	"testing"
)

// S-026 to S-031: the table of section 2.4.
func TestFormatMismatch(t *testing.T) {
	const (
		plain, asJSON = "hello", `{"a":1}`
		wantsPlain    = `["hello"]`
		wantsJSON     = `{"a":[1]}`
	)
	for _, c := range []struct {
		kind    Kind
		data    string
		pattern string
		want    bool
	}{
		{SQS, plain, `{"body":` + wantsPlain + `}`, true}, {SQS, plain, `{"messageId":["m"]}`, true}, {SQS, plain, `{"body":` + wantsJSON + `}`, false},
		{SQS, asJSON, `{"body":` + wantsPlain + `}`, false}, {SQS, asJSON, `{"messageId":["m"]}`, true}, {SQS, asJSON, `{"body":` + wantsJSON + `}`, true},
		{SQS, "other", `{"body":` + wantsPlain + `}`, false}, {SQS, `{"a":2}`, `{"body":` + wantsJSON + `}`, false}, {SQS, "17", `{"body":["17"]}`, true},
		{Kinesis, plain, `{"messageId":["m"]}`, true}, {Kinesis, plain, `{"data":` + wantsJSON + `}`, false}, {Kinesis, asJSON, `{"data":` + wantsJSON + `}`, true},
		{Kinesis, "\xff\xfe", `{"data":` + wantsJSON + `}`, false}, {Kinesis, "\xff\xfe", `{"messageId":["m"]}`, true},
		{SelfManagedKafka, plain, `{"value":` + wantsPlain + `}`, true}, {SelfManagedKafka, plain, `{"value":` + wantsJSON + `}`, true},
		{SelfManagedKafka, plain, `{"value":` + wantsJSON + `,"messageId":["other"]}`, false}, {SelfManagedKafka, asJSON, `{"value":["x"]}`, true},
		{SelfManagedKafka, asJSON, `{"value":` + wantsJSON + `}`, true}, {SelfManagedKafka, `{"a":2}`, `{"value":` + wantsJSON + `}`, false},
		{SelfManagedKafka, "\xff", `{"value":["x"]}`, true}, {SelfManagedKafka, "\xff", `{"value":["x"],"messageId":["other"]}`, false},
		{RabbitMQ, plain, `{"data":` + wantsJSON + `}`, true}, {RabbitMQ, "other", `{"data":` + wantsPlain + `}`, false},
	} {
		f, err := NewFilter(c.kind, []string{c.pattern})
		if err != nil {
			t.Fatal(err)
		}
		r := Filtered{Meta: []byte(`{"messageId":"m"}`), Data: []Datum{{traits[c.kind].Data[len(traits[c.kind].Data)-1], []byte(c.data)}}}
		if got := f.Passes(r); got != c.want {
			t.Errorf("%s: %q passes %s: %v, want %v", c.kind, c.data, c.pattern, got, c.want)
		}
	}
}

// S-013, S-024, S-025; plain patterns are refused for streams.
func TestFilters(t *testing.T) {
	f, err := NewFilter(SQS, []string{`{"body":{"a":[1]}}`, `{"body":{"a":[2]}}`, `{"body":{"a":[3]}}`, `{"body":{"a":[4]}}`, `{"body":{"a":[5]}}`})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Passes(Filtered{Meta: []byte(`{}`), Data: []Datum{{"body", []byte(`{"a":5}`)}}}) || f.Passes(Filtered{Meta: []byte(`{}`), Data: []Datum{{"body", []byte(`{"a":6}`)}}}) {
		t.Error("one of five patterns is not enough")
	}
	if f, err := NewFilter(SQS, nil); err != nil || !f.Passes(Filtered{}) {
		t.Error("without patterns not everything passes")
	}
	for _, p := range []string{`None`, `"simple string"`, `{"eventSource":"aws:sqs"}`, `{"eventSource":[]}`} {
		if _, err := NewFilter(SQS, []string{p}); !errors.As(err, new(*InvalidError)) || err.Error() != "Invalid filter pattern definition." {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := NewFilter(Kinesis, []string{`{"data":["x"]}`}); err == nil {
		t.Error("a pattern of plain text is taken for Kinesis")
	}
}

// S-057, S-066, S-079: members in the order that was recorded.
func TestFailureRecords(t *testing.T) {
	m := &Mapping{ID: "7c1", Partition: "aws"}
	m.Function.Account, m.Function.Region, m.Function.Name = "123456789012", "eu-west-1", "f"
	f := &Failure{Mapping: m, Condition: RetryAttemptsExhausted, Attempts: 2, RequestID: "r", Response: &Response{200, "$LATEST", "Unhandled"}, At: noon, Member: "KinesisBatchInfo",
		Info: []byte(`{"shardId":"s"}`), Payload: []byte(`{"Records":[]}`), Records: []*Record{{Shard: "shardId-0"}}, Object: "u"}
	const head = `{"requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:f","condition":"RetryAttemptsExhausted","approximateInvokeCount":2},`
	const rest = `"version":"1.0","timestamp":"2026-11-20T12:00:00.000Z","KinesisBatchInfo":{"shardId":"s"}`
	if got, want := string(f.Body(false)), head+`"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},`+rest+"}"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := f.Key(); got != "aws/lambda/7c1/shardId-0/2026/11/20/2026-11-20T12.00.00-u" { // S-058
		t.Error(got)
	}
	f.Response.Error = ""
	if got, want := string(f.Body(true)), head+`"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":null},`+rest+`,"payload":{"Records":[]}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if f.Response = nil; string(f.Body(false)) != head+rest+"}" {
		t.Error(string(f.Body(false)))
	}
}
