package logsapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"thaw/insights"
	"thaw/logstore"
)

// Bounds of queries. Source of the first two: CloudWatch Logs quotas.
const (
	maxRunning   = 100
	queryTimeout = time.Hour
	maxQueries   = 200 // that are remembered, the running ones among them
)

// queries are those that run and those that are done, the oldest first.
type queries struct {
	mu   sync.Mutex
	all  []*query
	work sync.WaitGroup
	ctx  context.Context // of those that run
	end  context.CancelFunc
}

func (qs *queries) open() { qs.ctx, qs.end = context.WithCancel(context.Background()) }

func (qs *queries) close() {
	qs.end()
	qs.work.Wait()
}

// statuses of a query.
const (
	running   = "Running"
	complete  = "Complete"
	failed    = "Failed"
	cancelled = "Cancelled"
	timedOut  = "Timeout"
)

// query is one of them. The members below mu of queries belong to it.
type query struct {
	id         string
	text       string
	groups     []string
	since, end int64 // Unix milliseconds, both part of it
	created    time.Time
	stop       context.CancelFunc

	status     string
	statistics queryStatistics
	rows       []insights.Row
}

type queryStatistics struct {
	BytesScanned            float64 `json:"bytesScanned"`
	EstimatedBytesSkipped   float64 `json:"estimatedBytesSkipped"`
	EstimatedRecordsSkipped float64 `json:"estimatedRecordsSkipped"`
	LogGroupsScanned        float64 `json:"logGroupsScanned"`
	RecordsMatched          float64 `json:"recordsMatched"`
	RecordsScanned          float64 `json:"recordsScanned"`
}

var errTooManyQueries = fail("LimitExceededException", "Account maximum query concurrency limit of [%d] reached.", maxRunning)

// start runs q until it is done or stopped.
func (qs *queries) start(q *query, parsed *insights.Query, limit int, s *Server, account string) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	busy := 0
	for _, o := range qs.all {
		if o.status == running {
			busy++
		}
	}
	if busy >= maxRunning {
		return errTooManyQueries
	}
	if len(qs.all) >= maxQueries { // the oldest that is done
		i := slices.IndexFunc(qs.all, func(o *query) bool { return o.status != running })
		qs.all = slices.Delete(qs.all, i, i+1)
	}
	ctx, cancel := context.WithTimeout(qs.ctx, queryTimeout)
	q.id, q.status, q.stop = uuid.NewString(), running, cancel
	qs.all = append(qs.all, q)
	qs.work.Go(func() {
		defer cancel()
		run := parsed.Start(limit)
		err := s.scan(ctx, q, run, account)
		qs.finish(ctx, q, run, err)
		if err != nil && ctx.Err() == nil {
			s.o.Log.Error("query of logs failed", "query", q.id, "error", err)
		}
	})
	return nil
}

func (qs *queries) finish(ctx context.Context, q *query, run *insights.Run, err error) {
	rows := run.Rows()
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q.rows = rows
	q.statistics.RecordsMatched = float64(run.Matched)
	switch {
	case q.status != running: // stopped: what was found stays
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		q.status = timedOut
	case err != nil:
		q.status = failed
	default:
		q.status = complete
	}
}

// scan feeds a run with the events of all groups, the latest first.
func (s *Server) scan(ctx context.Context, q *query, run *insights.Run, account string) error {
	var heads []*head
	for _, group := range q.groups {
		h := &head{q: logstore.PageQuery{Group: group, Since: q.since, Until: q.end, Backward: true, Limit: 1000, Bytes: maxPageBytes}, log: account + ":" + group, more: true}
		heads = append(heads, h)
	}
	for {
		var latest *head
		for _, h := range heads {
			if err := s.fetch(ctx, q, h); err != nil {
				return err
			}
			if len(h.page) > 0 && (latest == nil || latest.page[len(latest.page)-1].Time < h.page[len(h.page)-1].Time) {
				latest = h
			}
		}
		if latest == nil {
			return nil
		}
		n := len(latest.page) - 1
		e := latest.page[n]
		latest.page = latest.page[:n]
		if !run.Add(insights.Event{Time: e.Time, Ingested: e.Arrived, Message: e.Message, Stream: e.Stream, Log: latest.log, Ptr: newToken(latest.q.Group + "\x00" + eventID(e.At()))}) {
			return nil
		}
	}
}

// head is a group that is being read.
type head struct {
	q    logstore.PageQuery
	log  string
	page []logstore.Event // that were not given yet
	more bool
}

// fetch reads another page of a group whose events were all given.
func (s *Server) fetch(ctx context.Context, q *query, h *head) error {
	for len(h.page) == 0 && h.more {
		page, err := s.o.Logs.Page(ctx, h.q)
		if errors.Is(err, logstore.ErrNoGroup) { // deleted meanwhile
			h.more = false
			return nil
		}
		if err != nil {
			return err
		}
		h.page, h.more, h.q.Start = page.Events, page.More, page.Next
		s.queries.mu.Lock()
		q.statistics.RecordsScanned += float64(len(page.Events))
		q.statistics.BytesScanned += float64(page.Scanned)
		q.statistics.LogGroupsScanned = float64(len(q.groups))
		s.queries.mu.Unlock()
	}
	return nil
}

func (qs *queries) find(id string) *query {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range qs.all {
		if q.id == id {
			return q
		}
	}
	return nil
}

// queryError is MalformedQueryException.
func queryError(err error) error {
	var e *insights.Error
	if !errors.As(err, &e) {
		return err
	}
	return &malformedQuery{e}
}

type malformedQuery struct{ e *insights.Error }

func (m *malformedQuery) Error() string { return m.e.Message }

// answer says where in the query the error is, too.
func (m *malformedQuery) answer() any {
	type location struct {
		Start int `json:"startCharOffset"`
		End   int `json:"endCharOffset"`
	}
	type compileError struct {
		Location location `json:"location"`
		Message  string   `json:"message"`
	}
	return struct {
		Type    string       `json:"__type"`
		Message string       `json:"message"`
		Error   compileError `json:"queryCompileError"`
	}{"MalformedQueryException", m.e.Message, compileError{location{m.e.Start, m.e.End}, m.e.Message}}
}

// seconds turns the seconds of a query into milliseconds, in bounds.
func seconds(n int64, rest int64) int64 { return min(n, math.MaxInt64/1000-1)*1000 + rest }

// source is a query as DescribeQueries shows it: recorded.
func (q *query) source() string {
	return fmt.Sprintf("SOURCE %q START=%d END=%d | %s", q.groups[0], q.since, q.end, q.text)
}
