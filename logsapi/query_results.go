package logsapi

import (
	"slices"

	"thaw/insights"
	"thaw/internal/shape"
)

type queryIDInput struct {
	QueryID *string `json:"queryId"`
}

var queryID = shape.NewText(1, 256, "")

// query is the one that a request names.
func (c *call) query() (*query, error) {
	in, err := decode[queryIDInput](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("queryId", in.QueryID, queryID)
	if err := v.err(); err != nil {
		return nil, err
	}
	q := c.s.queries.find(*in.QueryID)
	if q == nil {
		return nil, fail("ResourceNotFoundException", "Query '%s' does not exist.", *in.QueryID)
	}
	return q, nil
}

// getQueryResults answers GetQueryResults. A query that runs has no rows yet.
func getQueryResults(c *call) (any, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	c.s.queries.mu.Lock()
	defer c.s.queries.mu.Unlock()
	rows := q.rows
	if rows == nil {
		rows = []insights.Row{}
	}
	return struct {
		QueryLanguage string          `json:"queryLanguage"`
		Results       []insights.Row  `json:"results"`
		Statistics    queryStatistics `json:"statistics"`
		Status        string          `json:"status"`
	}{"CWLI", rows, q.statistics, q.status}, nil
}

// stopQuery answers StopQuery.
func stopQuery(c *call) (any, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	c.s.queries.mu.Lock()
	defer c.s.queries.mu.Unlock()
	if q.status != running {
		return nil, invalidParameter("Query '%s' is not running: its status is %s.", q.id, q.status)
	}
	q.status = cancelled
	q.stop()
	return struct {
		Success bool `json:"success"`
	}{true}, nil
}

type queryInfo struct {
	CreateTime    int64  `json:"createTime"`
	LogGroupName  string `json:"logGroupName"`
	QueryID       string `json:"queryId"`
	QueryLanguage string `json:"queryLanguage"`
	QueryString   string `json:"queryString"`
	Status        string `json:"status"`
}

// describeQueries answers DescribeQueries: the latest first.
func describeQueries(c *call) (any, error) {
	in, err := decode[struct {
		LogGroupName *string `json:"logGroupName"`
		Status       *string `json:"status"`
		MaxResults   *int64  `json:"maxResults"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Text("logGroupName", in.LogGroupName, groupName)
	v.OneOf("status", in.Status, "Scheduled", running, complete, failed, cancelled, timedOut, "Unknown")
	v.number("maxResults", in.MaxResults, 1, 1000)
	if err := v.err(); err != nil {
		return nil, err
	}
	out := struct {
		Queries []queryInfo `json:"queries"`
	}{[]queryInfo{}}
	c.s.queries.mu.Lock()
	defer c.s.queries.mu.Unlock()
	for _, q := range slices.Backward(c.s.queries.all) {
		if in.LogGroupName != nil && !slices.Contains(q.groups, *in.LogGroupName) || in.Status != nil && *in.Status != q.status ||
			int64(len(out.Queries)) == or(in.MaxResults, 1000) {
			continue
		}
		out.Queries = append(out.Queries, queryInfo{q.created.UnixMilli(), q.groups[0], q.id, "CWLI", q.source(), q.status})
	}
	return out, nil
}
