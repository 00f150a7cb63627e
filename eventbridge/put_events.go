package eventbridge

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"thaw/internal/plainjson"
	"thaw/internal/shape"
)

// Bounds of PutEvents. Source: EventBridge User Guide, "Sending events with PutEvents".
const (
	maxEntries     = 10
	maxEntriesSize = 256 << 10
)

type eventEntry struct {
	Time                                                  *timestamp
	Source, DetailType, Detail, EventBusName, TraceHeader *string
	Resources                                             []string
}

// timestamp is a time as clients send it: seconds of Unix time, or text.
type timestamp struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *timestamp) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		var err error
		t.Time, err = time.Parse(time.RFC3339Nano, s)
		return err
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f < -1e11 || f > 1e11 {
		return errors.New("a time is seconds of Unix time")
	}
	t.Time = time.UnixMilli(int64(f * 1000))
	return nil
}

// size is what an entry counts. Source: EventBridge User Guide, "Calculating event entry size".
func (e *eventEntry) size() int {
	n := len(given(e.Source)) + len(given(e.DetailType)) + len(given(e.Detail))
	if e.Time != nil {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// check is what one entry is refused with: it harms no other.
func (e *eventEntry) check(s *Server, k busKey) (detail json.RawMessage, wrong *entryAnswer) {
	refuse := func(code, message string) (json.RawMessage, *entryAnswer) {
		return nil, &entryAnswer{ErrorCode: code, ErrorMessage: message}
	}
	for _, m := range []struct {
		name  string
		value *string
	}{{"Source", e.Source}, {"DetailType", e.DetailType}, {"Detail", e.Detail}} {
		if given(m.value) == "" {
			return refuse("InvalidArgument", "Parameter "+m.name+" is not valid. Reason: "+m.name+" is a required argument.")
		}
	}
	switch {
	case strings.HasPrefix(*e.Source, "aws."):
		return refuse("NotAuthorizedForSourceException", "Not authorized for the source.")
	case len(*e.Source) > 256 || len(*e.DetailType) > 128:
		return refuse("InvalidArgument", "Parameter Source or DetailType is not valid. Reason: it is too long.")
	case s.bus(k) == nil:
		return refuse("InvalidArgument", "Parameter EventBusName is not valid. Reason: event bus "+k.name+" does not exist in "+k.region+".")
	}
	detail, ok := object(*e.Detail)
	if !ok {
		return refuse("MalformedDetail", "Detail is malformed.")
	}
	return detail, nil
}

type entryAnswer struct {
	EventID      string `json:"EventId,omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

func putEvents(c *call) (any, error) {
	in, err := decode[struct {
		Entries    []eventEntry
		EndpointID *string
	}](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Length("entries", len(in.Entries), 1, maxEntries)
	if err := violated(v); err != nil {
		return nil, err
	}
	if in.EndpointID != nil {
		return nil, invalid("This server has no global endpoints: leave out EndpointId.")
	}
	size := 0
	for i := range in.Entries {
		size += in.Entries[i].size()
	}
	if size > maxEntriesSize {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	answers := make([]entryAnswer, len(in.Entries))
	now := c.s.o.Now()
	work := &delivery{s: c.s, ctx: c.ctx(), ingested: now}
	for i := range in.Entries {
		e := &in.Entries[i]
		k := c.busOf(e.EventBusName)
		detail, wrong := e.check(c.s, k)
		if wrong != nil {
			answers[i] = *wrong
			continue
		}
		event := newEvent(uuid.NewString(), c.s.o.AccountID, k.region, now)
		if e.Time != nil {
			event.Time = e.Time.UTC().Format(timeFormat)
		}
		event.Source, event.DetailType, event.Detail = *e.Source, *e.DetailType, detail
		event.Resources = append(event.Resources, e.Resources...)
		answers[i].EventID = event.ID
		trace := given(e.TraceHeader)
		if trace == "" { // AWS's SDKs send a function's header with whatever it sends
			trace = c.r.Header.Get("X-Amzn-Trace-Id")
		}
		work.match(k, plainjson.Value(event), trace, func(err error) {
			c.s.o.Log.Error("an event could not be put on disk", "bus", k.name, "error", err)
			answers[i] = entryAnswer{ErrorCode: "InternalFailure", ErrorMessage: "The event could not be stored. The server's log says why."}
		})
	}
	work.do()
	failed := 0
	for i := range answers {
		if answers[i].ErrorCode != "" {
			failed++
		}
	}
	return struct {
		FailedEntryCount int
		Entries          []entryAnswer
	}{failed, answers}, nil
}
