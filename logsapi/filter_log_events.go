package logsapi

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"thaw/logpattern"
	"thaw/logstore"
)

// filterPatience bounds the time for one page: what was found until then is given, with a token for the rest, as the
// service does.
const filterPatience = 700 * time.Millisecond

type filterInput struct {
	named
	LogStreamNames []string `json:"logStreamNames"`
	Prefix         *string  `json:"logStreamNamePrefix"`
	StartTime      *int64   `json:"startTime"`
	EndTime        *int64   `json:"endTime"`
	FilterPattern  *string  `json:"filterPattern"`
	NextToken      *string  `json:"nextToken"`
	Limit          *int64   `json:"limit"`
}

type filteredLogEvent struct {
	EventID       string `json:"eventId"`
	IngestionTime int64  `json:"ingestionTime"`
	LogStreamName string `json:"logStreamName"`
	Message       string `json:"message"`
	Timestamp     int64  `json:"timestamp"`
}

// filterLogEvents answers FilterLogEvents, always interleaved.
func filterLogEvents(c *call) (any, error) {
	in, err := decode[filterInput](c)
	if err != nil {
		return nil, err
	}
	q, err := in.query(c)
	if err != nil {
		return nil, err
	}
	for _, name := range in.LogStreamNames {
		there, err := c.logs().HasStream(c.ctx(), q.Group, name)
		if err != nil {
			return nil, err
		}
		if !there {
			return nil, errNoStream
		}
	}
	page, err := c.logs().Page(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	out := struct {
		Events    []filteredLogEvent `json:"events"`
		Searched  []struct{}         `json:"searchedLogStreams"` // empty, as the service has it since 2019
		NextToken string             `json:"nextToken,omitempty"`
	}{Events: []filteredLogEvent{}, Searched: []struct{}{}}
	for _, e := range page.Events {
		out.Events = append(out.Events, filteredLogEvent{eventID(e.At()), e.Arrived, e.Stream, e.Message, e.Time})
	}
	if page.More {
		out.NextToken = in.token(page.Next)
	}
	return out, nil
}

// query checks the request and says what is asked of the store.
func (in *filterInput) query(c *call) (q logstore.PageQuery, err error) {
	var v violations
	in.check(&v)
	v.names("logStreamNames", in.LogStreamNames, 100, streamName)
	v.Text("logStreamNamePrefix", in.Prefix, streamName)
	v.number("startTime", in.StartTime, 0, 0)
	v.number("endTime", in.EndTime, 0, 0)
	v.Text("filterPattern", in.FilterPattern, patternText)
	v.Text("nextToken", in.NextToken, someToken)
	v.number("limit", in.Limit, 1, maxEvents)
	if err := v.err(); err != nil {
		return q, err
	}
	if in.Prefix != nil && in.LogStreamNames != nil {
		return q, invalidParameter("LogStreamNames and LogStreamNamePrefix are mutually exclusive parameters.")
	}
	q = logstore.PageQuery{Streams: in.LogStreamNames, Since: or(in.StartTime, 0), Until: or(in.EndTime, 0), Limit: int(or(in.Limit, maxEvents)),
		Bytes: maxPageBytes, Patience: filterPatience}
	if in.Prefix != nil {
		q.StreamPrefixes = []string{*in.Prefix}
	}
	if q.Group, err = in.group(c); err != nil {
		return q, err
	}
	if q.Pattern, err = logpattern.Parse(or(in.FilterPattern, "")); err != nil {
		return q, err
	}
	if in.NextToken != nil {
		q.Start, err = in.readToken(*in.NextToken)
	}
	return q, err
}

// eventID is unique, the same each time, and grows in the order of a page (statement C-136).
func eventID(at logstore.At) string { return at.EventID() }

// A token belongs to what was asked for: with another request it is refused.
func (in *filterInput) token(at logstore.At) string {
	return newToken(fmt.Sprintf("%d/%d/%08x", at.Time, at.ID, in.sum()))
}

func (in *filterInput) readToken(token string) (at logstore.At, err error) {
	text, err := readToken(token)
	if err != nil {
		return at, err
	}
	var sum uint32
	if n, err := fmt.Sscanf(text, "%d/%d/%x", &at.Time, &at.ID, &sum); err != nil || n != 3 || sum != in.sum() {
		return at, errBadToken
	}
	return at, nil
}

func (in *filterInput) sum() uint32 {
	asked := *in
	asked.NextToken, asked.Limit = nil, nil
	b, err := json.Marshal(asked)
	if err != nil {
		panic(err) // of texts and numbers: never
	}
	return crc32.ChecksumIEEE(b)
}
