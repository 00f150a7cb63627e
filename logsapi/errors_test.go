package logsapi

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestErrors holds texts that were recorded from the service. C-137: a missing log group.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	w.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	w.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`)
	long := strings.Repeat("a", 513)
	now := time.Now().UnixMilli()
	const (
		noGroup  = `{"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}`
		noStream = `{"__type":"ResourceNotFoundException","message":"The specified log stream does not exist."}`
		badToken = `{"__type":"InvalidParameterException","message":"The specified nextToken is invalid."}`
	)
	invalid := func(text string) string { return `{"__type":"InvalidParameterException","message":"` + text + `"}` }
	for _, tc := range []struct{ operation, body, want string }{
		{"FilterLogEvents", `{"logGroupName":"none"}`, noGroup},
		{"GetLogEvents", `{"logGroupName":"none","logStreamName":"s"}`, noGroup},
		{"GetLogEvents", `{"logGroupName":"g","logStreamName":"none"}`, noStream},
		{"FilterLogEvents", `{"logGroupName":"g","logStreamNames":["none"]}`, noStream},
		{"DescribeLogStreams", `{"logGroupName":"none"}`, noGroup},
		{"DeleteLogGroup", `{"logGroupName":"none"}`, noGroup},
		{"DeleteLogStream", `{"logGroupName":"g","logStreamName":"none"}`, noStream},
		{"PutRetentionPolicy", `{"logGroupName":"none","retentionInDays":7}`, noGroup},
		{"DeleteRetentionPolicy", `{"logGroupName":"none"}`, noGroup},
		{"CreateLogStream", `{"logGroupName":"none","logStreamName":"s"}`, noGroup},
		{"ListTagsForResource", `{"resourceArn":"arn:aws:logs:eu-west-1:000000000000:log-group:none"}`, noGroup},
		{"ListTagsForResource", `{"resourceArn":"arn:aws:logs:eu-west-2:000000000000:log-group:g"}`, noGroup},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"g","logStreamName":"none","logEvents":[{"timestamp":%d,"message":"m"}]}`, now), noStream},
		{"CreateLogGroup", `{"logGroupName":"g"}`, `{"__type":"ResourceAlreadyExistsException","message":"The specified log group already exists"}`},
		{"CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`, `{"__type":"ResourceAlreadyExistsException","message":"The specified log stream already exists"}`},
		{"CreateLogGroup", `{"logGroupName":"` + long + `"}`, invalid("Invalid LogGroup or LogStream, both must have length less than or equal to 512.")},
		{"CreateLogGroup", `{}`, invalid("1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null")},
		{"CreateLogGroup", `{"logGroupName":"a b"}`, invalid(`1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+`)},
		{"CreateLogStream", `{"logGroupName":"g","logStreamName":"a:b"}`, invalid(`1 validation error detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*`)},
		{"FilterLogEvents", `{"logGroupName":"g","limit":10001}`, invalid("1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000")},
		{"GetLogEvents", `{"logGroupName":"g","logStreamName":"s","limit":10001}`, invalid("1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000")},
		{"FilterLogEvents", `{"logGroupName":"g","nextToken":"invalid-token"}`, badToken},
		{"GetLogEvents", `{"logGroupName":"g","logStreamName":"s","nextToken":"invalid-token"}`, badToken},
		{"DescribeLogGroups", `{"nextToken":"invalid-token"}`, badToken},
		{"FilterLogEvents", `{"logGroupName":"g","filterPattern":"?Status: timeout"}`, invalid("Invalid character(s) in term ':'")},
		{"DescribeLogGroups", `{"logGroupNamePrefix":"a","logGroupNamePattern":"b"}`, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")},
		{"DescribeLogStreams", `{"logGroupName":"g","logGroupIdentifier":"g"}`, `{"__type":"ValidationException","message":"LogGroup name and LogGroup ARN are mutually exclusive parameters."}`},
		{"DescribeLogStreams", `{"logGroupName":"g","orderBy":"LastEventTime","logStreamNamePrefix":"s"}`, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")},
		{"PutRetentionPolicy", `{"logGroupName":"g","retentionInDays":2}`, invalid("1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]")},
		{"DescribeLogStreams", `{"logGroupName":"g","orderBy":"LogStreamName LastEventTime"}`, invalid("1 validation error detected: Value 'LogStreamName LastEventTime' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]")},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"0"},{"timestamp":%d,"message":"1"}]}`, now, now-1), invalid("Log events in a single PutLogEvents request must be in chronological order.")},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"0"},{"timestamp":%d,"message":"1"}]}`, now-24*3600*1000-1, now), invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"%s"}]}`, now, strings.Repeat("a", 1<<20)), invalid("Upload too large: 1048602 bytes exceeds limit of 1048576")},
		{"PutLogEvents", `{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":-1}]}`, invalid("2 validation errors detected: Value '-1' at 'logEvents.1.member.timestamp' failed to satisfy constraint: Member must have value greater than or equal to 0; Value null at 'logEvents.1.member.message' failed to satisfy constraint: Member must not be null")},
		{"FilterLogEvents", `{"logGroupName":`, `{"__type":"SerializationException","message":"Could not parse request body into json: unexpected end of JSON input"}`},
		{"FilterLogEvents", `{"logGroupName":"g","limit":"x"}`, `{"__type":"SerializationException","message":"STRING_VALUE cannot be converted to int64"}`},
		{"Nothing", `{}`, `{"__type":"UnknownOperationException"}`},
	} {
		if status, got := w.raw(tc.operation, tc.body); status != 400 || got != tc.want {
			t.Errorf("%s %.200s\n got %d %s\nwant 400 %s", tc.operation, tc.body, status, got, tc.want)
		}
	}
	if status, got := w.raw("PutMetricFilter", `{}`); status != 501 || got != `{"__type":"NotImplementedException","message":"PutMetricFilter is not implemented by this server yet."}` {
		t.Errorf("an operation that is not there: %d %s", status, got)
	}
}
