package trigger

import (
	"bytes"
	"compress/gzip"
	"encoding/json"

	"thaw/internal/plainjson"
)

// LogMessage is what a subscription of a log group sends to its function. Source: CloudWatch Logs User Guide,
// "Real-time processing of log data with subscriptions".
type LogMessage struct {
	Type    string     `json:"messageType"` // DATA_MESSAGE, CONTROL_MESSAGE
	Owner   string     `json:"owner"`       // account
	Group   string     `json:"logGroup"`
	Stream  string     `json:"logStream"`
	Filters []string   `json:"subscriptionFilters"`
	Events  []LogEvent `json:"logEvents"`
}

// LogEvent is one line.
type LogEvent struct {
	ID      string `json:"id"`
	Time    int64  `json:"timestamp"` // ms
	Message string `json:"message"`
}

// Event is the message as a function gets it: JSON, compressed, in base64.
func (m *LogMessage) Event() ([]byte, error) {
	text, err := plainjson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	type data struct {
		Data []byte `json:"data"` // base64 in JSON
	}
	return json.Marshal(struct {
		Logs data `json:"awslogs"`
	}{data{b.Bytes()}})
}

// LogCheck is the message by which a subscription sees whether its function can be reached.
func LogCheck(nowMs int64) *LogMessage {
	return &LogMessage{Type: "CONTROL_MESSAGE", Owner: "CloudwatchLogs", Filters: []string{},
		Events: []LogEvent{{Time: nowMs, Message: "CWL CONTROL MESSAGE: Checking health of destination Lambda function."}}}
}
