package logsapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thaw/logstore"
)

// oneStream is the request of operations that want a stream alone.
type oneStream struct {
	LogGroupName  *string `json:"logGroupName"`
	LogStreamName *string `json:"logStreamName"`
}

func (in *oneStream) check() error {
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	v.Required("logStreamName", in.LogStreamName, streamName)
	return v.err()
}

// createLogStream answers CreateLogStream.
func createLogStream(c *call) (any, error) {
	in, err := decode[oneStream](c)
	if err != nil {
		return nil, err
	}
	if err := longNames(in.LogGroupName, in.LogStreamName); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	return nil, c.logs().CreateStream(c.ctx(), *in.LogGroupName, *in.LogStreamName)
}

// deleteLogStream answers DeleteLogStream.
func deleteLogStream(c *call) (any, error) {
	in, err := decode[oneStream](c)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	return nil, c.logs().DeleteStream(c.ctx(), *in.LogGroupName, *in.LogStreamName)
}

// logStream is the wire's. storedBytes is 0, as the service has it since June 2019.
type logStream struct {
	ARN                 string `json:"arn"`
	CreationTime        int64  `json:"creationTime"`
	FirstEventTimestamp *int64 `json:"firstEventTimestamp,omitempty"`
	LastEventTimestamp  *int64 `json:"lastEventTimestamp,omitempty"`
	LastIngestionTime   *int64 `json:"lastIngestionTime,omitempty"`
	LogStreamName       string `json:"logStreamName"`
	StoredBytes         int64  `json:"storedBytes"`
	UploadSequenceToken string `json:"uploadSequenceToken,omitempty"`
}

func (c *call) logStream(group string, info logstore.StreamInfo) logStream {
	out := logStream{ARN: c.streamARN(group, info.Name), CreationTime: info.Created, LogStreamName: info.Name}
	if info.Events > 0 {
		out.FirstEventTimestamp, out.LastEventTimestamp, out.LastIngestionTime = &info.First, &info.Last, &info.LastArrived
		out.UploadSequenceToken = sequenceToken(info.LastArrived)
	}
	return out
}

// sequenceToken has the form of the service's, which nobody needs any more.
func sequenceToken(ms int64) string { return fmt.Sprintf("4%055d", ms) }

// describeLogStreams answers DescribeLogStreams.
func describeLogStreams(c *call) (any, error) {
	in, err := decode[struct {
		named
		Prefix     *string `json:"logStreamNamePrefix"`
		OrderBy    *string `json:"orderBy"`
		Descending bool    `json:"descending"`
		NextToken  *string `json:"nextToken"`
		Limit      *int64  `json:"limit"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	in.check(&v)
	v.Text("logStreamNamePrefix", in.Prefix, streamName)
	v.OneOf("orderBy", in.OrderBy, "LogStreamName", "LastEventTime")
	v.Text("nextToken", in.NextToken, someToken)
	v.number("limit", in.Limit, 1, 50)
	if err := v.err(); err != nil {
		return nil, err
	}
	group, err := in.group(c)
	if err != nil {
		return nil, err
	}
	byTime := or(in.OrderBy, "") == "LastEventTime"
	if byTime && in.Prefix != nil {
		return nil, invalidParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	streams, err := c.logs().Streams(c.ctx(), group)
	if err != nil {
		return nil, err
	}
	streams = slices.DeleteFunc(streams, func(s logstore.StreamInfo) bool { return !strings.HasPrefix(s.Name, or(in.Prefix, "")) })
	key := streamKey(byTime, in.Descending)
	slices.SortFunc(streams, func(a, b logstore.StreamInfo) int { return cmp.Compare(key(a), key(b)) })
	page, next, err := pageOf(streams, key, in.NextToken, or(in.Limit, 50))
	if err != nil {
		return nil, err
	}
	out := struct {
		LogStreams []logStream `json:"logStreams"`
		NextToken  string      `json:"nextToken,omitempty"`
	}{[]logStream{}, next}
	for _, s := range page {
		out.LogStreams = append(out.LogStreams, c.logStream(group, s))
	}
	return out, nil
}

// streamKey is what streams are ordered by, as a text that grows: the name, or the time and the name, or the reverse.
func streamKey(byTime, descending bool) func(logstore.StreamInfo) string {
	return func(s logstore.StreamInfo) string {
		key := s.Name
		if byTime {
			key = fmt.Sprintf("%020d %s", s.Last, s.Name)
		}
		if descending {
			b := []byte(key + "\x00")
			for i := range b {
				b[i] = ^b[i]
			}
			key = string(b)
		}
		return key
	}
}
