package logsapi

import (
	"time"
	"unicode/utf8"
)

// Bounds of PutLogEvents. Source: its page of the API reference.
const (
	maxBatch      = 10_000
	maxBatchBytes = 1 << 20
	perEvent      = 26 // bytes that an event counts beside its message
	maxPast       = 14 * 24 * time.Hour
	maxFuture     = 2 * time.Hour
	maxSpan       = 24 * time.Hour
)

type inputLogEvent struct {
	Timestamp *int64  `json:"timestamp"`
	Message   *string `json:"message"`
}

type putLogEventsInput struct {
	oneStream
	LogEvents []inputLogEvent `json:"logEvents"`
}

// rejected says where the events that are not kept begin or end.
type rejected struct {
	TooNewStart *int `json:"tooNewLogEventStartIndex,omitempty"`
	TooOldEnd   *int `json:"tooOldLogEventEndIndex,omitempty"`
	ExpiredEnd  *int `json:"expiredLogEventEndIndex,omitempty"`
}

// putLogEvents answers PutLogEvents. It waits for room in the store, and loses nothing.
func putLogEvents(c *call) (any, error) {
	in, err := decode[putLogEventsInput](c)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	group, stream := *in.LogGroupName, *in.LogStreamName
	there, err := c.logs().HasStream(c.ctx(), group, stream)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNoStream
	}
	g, err := c.logs().Group(c.ctx(), group)
	if err != nil {
		return nil, err
	}
	now := c.s.o.Now()
	keep, no := timely(in.LogEvents, now, time.Duration(g.Retention)*24*time.Hour)
	to := c.logs().Stream(group, stream)
	const grant = 128 << 10 // half of what room is given for: one message may be as long as the rest
	taken := grant
	for _, e := range keep {
		if taken += len(*e.Message) + perEvent; taken > grant {
			select {
			case <-to.Room():
			case <-c.ctx().Done():
				return nil, c.ctx().Err()
			}
			taken = len(*e.Message)
		}
		to.Append(time.UnixMilli(*e.Timestamp), *e.Message)
	}
	return struct {
		Next     string    `json:"nextSequenceToken"`
		Rejected *rejected `json:"rejectedLogEventsInfo,omitempty"`
	}{sequenceToken(now.UnixMilli()), no}, nil
}

// check is about what the whole request must be like.
func (in *putLogEventsInput) check() error {
	if err := in.oneStream.check(); err != nil {
		return err
	}
	var v violations
	if in.LogEvents == nil {
		v.Missing("logEvents")
	} else if n := len(in.LogEvents); n == 0 {
		v.Add("'[]'", "logEvents", "Member must have length greater than or equal to 1")
	} else if n > maxBatch {
		v.Add("'[...]'", "logEvents", "Member must have length less than or equal to 10000")
	}
	size := 0
	for i, e := range in.LogEvents {
		switch {
		case e.Timestamp == nil:
			v.Missing(member(i, "timestamp"))
		case *e.Timestamp < 0:
			v.number(member(i, "timestamp"), e.Timestamp, 0, 0)
		}
		switch {
		case e.Message == nil:
			v.Missing(member(i, "message"))
		case *e.Message == "":
			v.Add("''", member(i, "message"), "Member must have length greater than or equal to 1")
		default:
			size += utf8Len(*e.Message) + perEvent
		}
	}
	if err := v.err(); err != nil {
		return err
	}
	if size > maxBatchBytes {
		return invalidParameter("Upload too large: %d bytes exceeds limit of %d", size, maxBatchBytes)
	}
	first, last := *in.LogEvents[0].Timestamp, *in.LogEvents[len(in.LogEvents)-1].Timestamp
	for i := 1; i < len(in.LogEvents); i++ {
		if *in.LogEvents[i].Timestamp < *in.LogEvents[i-1].Timestamp {
			return invalidParameter("Log events in a single PutLogEvents request must be in chronological order.")
		}
	}
	if last-first > maxSpan.Milliseconds() {
		return invalidParameter("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

func member(i int, name string) string {
	return "logEvents." + joinNumbers([]int64{int64(i) + 1}) + ".member." + name
}

// utf8Len is the length of a text in bytes when what is no UTF-8 was replaced.
func utf8Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf8.RuneLen(r)
	}
	return n
}

// timely are the events, which are in the order of their times, that are neither too old nor too new.
func timely(events []inputLogEvent, now time.Time, retention time.Duration) (keep []inputLogEvent, no *rejected) {
	var old, expired, end int
	for i, e := range events {
		at := time.UnixMilli(*e.Timestamp)
		switch {
		case now.Sub(at) > maxPast:
			old = i + 1
		case retention > 0 && now.Sub(at) > retention:
			expired = i + 1
		}
		if at.Sub(now) <= maxFuture {
			end = i + 1
		}
	}
	r := &rejected{}
	if old > 0 {
		r.TooOldEnd = &old
	}
	if expired > 0 {
		r.ExpiredEnd = &expired
	}
	if end < len(events) {
		r.TooNewStart = &end
	}
	if *r != (rejected{}) {
		no = r
	}
	begin := max(old, expired)
	if begin >= end {
		return nil, no
	}
	return events[begin:end], no
}
