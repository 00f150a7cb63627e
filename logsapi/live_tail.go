package logsapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/google/uuid"

	"thaw/logpattern"
	"thaw/logstore"
)

// Bounds of live tails. Source: StartLiveTail.
const (
	maxTailGroups  = 10
	maxTailUpdate  = 500 // events of an update; of more, some are left out
	tailUpdates    = time.Second
	tailLong       = 3 * time.Hour
	maxTailPending = 4 << 20 // bytes of an update
)

type liveTailInput struct {
	LogGroupIdentifiers   []string `json:"logGroupIdentifiers"`
	LogStreamNames        []string `json:"logStreamNames,omitempty"`
	LogStreamNamePrefixes []string `json:"logStreamNamePrefixes,omitempty"`
	LogEventFilterPattern *string  `json:"logEventFilterPattern,omitempty"`
}

type liveTailEvent struct {
	IngestionTime      int64  `json:"ingestionTime"`
	LogGroupIdentifier string `json:"logGroupIdentifier"`
	LogStreamName      string `json:"logStreamName"`
	Message            string `json:"message"`
	Timestamp          int64  `json:"timestamp"`
}

// startLiveTail answers StartLiveTail: a stream of updates, one a second, of what comes from now on. It ends after three
// hours, with the caller, or with the server.
func startLiveTail(c *call) (any, error) {
	in, err := decode[liveTailInput](c)
	if err != nil {
		return nil, err
	}
	queries, err := in.queries(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx(), tailLong)
	defer cancel()
	events := make(chan liveTailEvent)
	ended := make(chan struct{}, len(queries))
	for _, q := range queries {
		go func() { // ends with ctx, which this call waits for below
			defer func() { ended <- struct{}{} }()
			c.tail(ctx, q, events)
		}()
	}
	s := &tailStream{w: c.w, events: events, in: in, out: eventstream.NewEncoder()}
	s.run(ctx, c.s.o.Stopping)
	cancel()
	for range queries {
		<-ended
	}
	return nil, errAnswered
}

// queries checks the request and says what is followed: a query for each group.
func (in *liveTailInput) queries(c *call) ([]logstore.Query, error) {
	var v violations
	if in.LogGroupIdentifiers == nil {
		v.Missing("logGroupIdentifiers")
	}
	v.names("logGroupIdentifiers", in.LogGroupIdentifiers, maxTailGroups, identifier)
	v.names("logStreamNames", in.LogStreamNames, 100, streamName)
	v.names("logStreamNamePrefixes", in.LogStreamNamePrefixes, 100, streamName)
	v.Text("logEventFilterPattern", in.LogEventFilterPattern, patternText)
	if err := v.err(); err != nil {
		return nil, err
	}
	switch {
	case in.LogStreamNames != nil && in.LogStreamNamePrefixes != nil:
		return nil, invalidParameter("LogStreamNames and LogStreamNamePrefixes are mutually exclusive parameters.")
	case len(in.LogGroupIdentifiers) > 1 && (in.LogStreamNames != nil || in.LogStreamNamePrefixes != nil):
		return nil, invalidParameter("Log streams can be chosen with one log group only.")
	}
	pattern, err := logpattern.Parse(or(in.LogEventFilterPattern, ""))
	if err != nil {
		return nil, err
	}
	var all []logstore.Query
	for _, id := range in.LogGroupIdentifiers {
		group, err := c.groupOf(id)
		if err != nil {
			return nil, err
		}
		if _, err := c.logs().Group(c.ctx(), group); err != nil {
			return nil, err
		}
		all = append(all, logstore.Query{Group: group, Streams: in.LogStreamNames, StreamPrefixes: in.LogStreamNamePrefixes, Pattern: pattern, After: c.logs().Now()})
	}
	return all, nil
}

// tail follows one group. What nobody takes yet stays on disk.
func (c *call) tail(ctx context.Context, q logstore.Query, events chan<- liveTailEvent) {
	for e, err := range c.logs().Follow(ctx, q) {
		if err != nil {
			c.s.o.Log.Warn("live tail ended", "group", q.Group, "err", err)
			return
		}
		select {
		case events <- liveTailEvent{e.Arrived, c.s.o.AccountID + ":" + q.Group, e.Stream, e.Message, e.Time}:
		case <-ctx.Done():
			return
		}
	}
}

// tailStream is the answer.
type tailStream struct {
	w      http.ResponseWriter
	events <-chan liveTailEvent
	in     liveTailInput
	out    *eventstream.Encoder
}

func (s *tailStream) run(ctx context.Context, stopping <-chan struct{}) {
	s.w.Header()["Content-Type"] = []string{"application/vnd.amazon.eventstream"}
	s.w.WriteHeader(http.StatusOK)
	if !s.send("initial-response", struct{}{}) || !s.send("sessionStart", struct {
		RequestID string `json:"requestId"`
		SessionID string `json:"sessionId"`
		liveTailInput
	}{s.w.Header().Get("X-Amzn-Requestid"), uuid.NewString(), s.in}) {
		return
	}
	every := time.NewTicker(tailUpdates)
	defer every.Stop()
	update := newTailUpdate()
	size := 0
	for {
		select {
		case e := <-s.events:
			if len(update.Results) >= maxTailUpdate || size > maxTailPending {
				update.Metadata.Sampled = true
				continue
			}
			size += len(e.Message)
			update.Results = append(update.Results, e)
		case <-every.C:
			if !s.send("sessionUpdate", update) {
				return
			}
			update, size = newTailUpdate(), 0
		case <-stopping:
			s.exception("SessionStreamingException", "The server is stopping.")
			return
		case <-ctx.Done():
			s.exception("SessionTimeoutException", "Session timed out.") // to nobody, when it is the caller who has gone
			return
		}
	}
}

type tailUpdate struct {
	Metadata struct {
		Sampled bool `json:"sampled"`
	} `json:"sessionMetadata"`
	Results []liveTailEvent `json:"sessionResults"`
}

func newTailUpdate() tailUpdate { return tailUpdate{Results: []liveTailEvent{}} }

func (s *tailStream) send(kind string, v any) bool {
	return s.write(v, "event", ":event-type", kind)
}

func (s *tailStream) exception(kind, message string) {
	s.write(map[string]string{"message": message}, "exception", ":exception-type", kind)
}

// write sends a message; it fails when nobody takes it.
func (s *tailStream) write(v any, message, key, kind string) bool {
	payload, err := json.Marshal(v)
	if err != nil {
		return false
	}
	m := eventstream.Message{Payload: payload}
	m.Headers.Set(":message-type", eventstream.StringValue(message))
	m.Headers.Set(key, eventstream.StringValue(kind))
	m.Headers.Set(":content-type", eventstream.StringValue(contentType[0]))
	if s.out.Encode(s.w, m) != nil {
		return false
	}
	return http.NewResponseController(s.w).Flush() == nil
}
