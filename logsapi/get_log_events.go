package logsapi

import (
	"fmt"
	"strings"

	"thaw/logstore"
)

// Bounds of a page of events. Source: GetLogEvents, FilterLogEvents.
const (
	maxEvents    = 10_000
	maxPageBytes = 1 << 20
)

type outputLogEvent struct {
	IngestionTime int64  `json:"ingestionTime"`
	Message       string `json:"message"`
	Timestamp     int64  `json:"timestamp"`
}

type getLogEventsInput struct {
	named
	LogStreamName *string `json:"logStreamName"`
	StartTime     *int64  `json:"startTime"`
	EndTime       *int64  `json:"endTime"`
	NextToken     *string `json:"nextToken"`
	Limit         *int64  `json:"limit"`
	StartFromHead bool    `json:"startFromHead"`
}

// getLogEvents answers GetLogEvents: a stream's events, onwards or backwards. At an end the token that was given comes
// back.
func getLogEvents(c *call) (any, error) {
	in, err := decode[getLogEventsInput](c)
	if err != nil {
		return nil, err
	}
	group, err := in.check(c)
	if err != nil {
		return nil, err
	}
	q := logstore.PageQuery{Group: group, Streams: []string{*in.LogStreamName}, Since: or(in.StartTime, 0),
		Limit: int(or(in.Limit, maxEvents)), Bytes: maxPageBytes, Backward: !in.StartFromHead}
	if in.EndTime != nil {
		q.Until = *in.EndTime - 1 // is not part of it
		if q.Until <= 0 {
			q.Until = -1
		}
	}
	if in.NextToken != nil {
		if q.Backward, q.Start, err = readEventsToken(*in.NextToken); err != nil {
			return nil, err
		}
	}
	if there, err := c.logs().HasStream(c.ctx(), group, *in.LogStreamName); err != nil || !there {
		if err == nil {
			err = errNoStream
		}
		return nil, err
	}
	page, err := c.logs().Page(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	return eventsAnswer(page, q), nil
}

func (in *getLogEventsInput) check(c *call) (string, error) {
	var v violations
	in.named.check(&v)
	v.Required("logStreamName", in.LogStreamName, streamName)
	v.number("startTime", in.StartTime, 0, 0)
	v.number("endTime", in.EndTime, 0, 0)
	v.number("limit", in.Limit, 1, maxEvents)
	if err := v.err(); err != nil {
		return "", err
	}
	return in.group(c)
}

func eventsAnswer(page logstore.Page, q logstore.PageQuery) any {
	out := struct {
		Events   []outputLogEvent `json:"events"`
		Forward  string           `json:"nextForwardToken"`
		Backward string           `json:"nextBackwardToken"`
	}{Events: []outputLogEvent{}}
	for _, e := range page.Events {
		out.Events = append(out.Events, outputLogEvent{e.Arrived, e.Message, e.Time})
	}
	first, last := q.Start, q.Start
	switch n := len(page.Events); {
	case n > 0:
		first, last = page.Events[0].At(), page.Events[n-1].At()
	case q.Backward && q.Start == logstore.At{}:
		first.ID++ // nothing is there: whatever comes is onwards
	case q.Backward:
		last.ID-- // the event that the token names is onwards again
	default:
		first.ID++
	}
	out.Forward, out.Backward = eventsToken(false, last), eventsToken(true, first)
	return out
}

const signBit = 1 << 63 // turned over, so that the digits of a time are those of no negative number

// eventsToken has the form of the service's: f/ onwards, b/ backwards, and /s.
func eventsToken(backward bool, at logstore.At) string {
	direction := "f"
	if backward {
		direction = "b"
	}
	return fmt.Sprintf("%s/%020d%020d/s", direction, uint64(at.Time)^signBit, at.ID) //nolint:gosec // times before 1970, too
}

func readEventsToken(token string) (backward bool, at logstore.At, err error) {
	digits, ok := strings.CutSuffix(token, "/s")
	direction, digits, _ := strings.Cut(digits, "/")
	var when uint64
	if !ok || len(digits) != 40 || strings.Trim(digits, "0123456789") != "" || direction != "f" && direction != "b" {
		return false, at, errBadToken
	}
	if _, err := fmt.Sscanf(digits, "%20d%20d", &when, &at.ID); err != nil {
		return false, at, errBadToken
	}
	at.Time = int64(when ^ signBit) //nolint:gosec // as above
	return direction == "b", at, nil
}
