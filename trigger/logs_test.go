package trigger

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// logsIn is what a function finds in an event of CloudWatch Logs.
func logsIn(t *testing.T, event []byte) []byte {
	t.Helper()
	var e struct {
		Logs struct{ Data []byte } `json:"awslogs"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(e.Logs.Data))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a subscription sends is AWS's published event, decoded; functions in Go read it by aws-lambda-go's type.
func TestLogMessages(t *testing.T) {
	t.Parallel()
	sample := lambdaGoSample(t, "cloudwatch-logs-event.json")
	m := &LogMessage{Type: "DATA_MESSAGE", Owner: "123456789123", Group: "testLogGroup", Stream: "testLogStream", Filters: []string{"testFilter"},
		Events: []LogEvent{{"eventId1", 1440442987000, "[ERROR] First test message"}, {"eventId2", 1440442987001, "[ERROR] Second test message"}}}
	event, err := m.Event()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := logsIn(t, event), logsIn(t, sample); !bytes.Equal(got, want) {
		t.Errorf("the message is\n%s\nAWS's is\n%s", got, want)
	}
	var typed events.CloudwatchLogsEvent
	if err := json.Unmarshal(event, &typed); err != nil {
		t.Fatal(err)
	}
	if d, err := typed.AWSLogs.Parse(); err != nil || d.LogGroup != "testLogGroup" || len(d.LogEvents) != 2 {
		t.Errorf("aws-lambda-go reads %+v, %v", d, err)
	}
	check, err := LogCheck(1440442987000).Event()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],` +
		`"logEvents":[{"id":"","timestamp":1440442987000,"message":"CWL CONTROL MESSAGE: Checking health of destination Lambda function."}]}`
	if got := string(logsIn(t, check)); got != want {
		t.Errorf("the check is\n%s", got)
	}
}
