package logsapi

import (
	"errors"

	"thaw/insights"
	"thaw/internal/shape"
	"thaw/logstore"
)

const maxQueryGroups = 50

type startQueryInput struct {
	QueryLanguage       *string  `json:"queryLanguage"`
	LogGroupName        *string  `json:"logGroupName"`
	LogGroupNames       []string `json:"logGroupNames"`
	LogGroupIdentifiers []string `json:"logGroupIdentifiers"`
	StartTime           *int64   `json:"startTime"`
	EndTime             *int64   `json:"endTime"`
	QueryString         *string  `json:"queryString"`
	Limit               *int64   `json:"limit"`
}

var queryText = shape.NewText(0, 10_000, "")

// startQuery answers StartQuery. The language is that of Logs Insights (package insights); SQL and PPL are not there.
func startQuery(c *call) (any, error) {
	in, err := decode[startQueryInput](c)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if or(in.QueryLanguage, "CWLI") != "CWLI" {
		return nil, invalidParameter("Queries in %s are not implemented by this server.", *in.QueryLanguage)
	}
	groups, err := in.groups(c)
	if err != nil {
		return nil, err
	}
	parsed, err := insights.Parse(*in.QueryString)
	if err != nil {
		return nil, queryError(err)
	}
	q := &query{text: *in.QueryString, groups: groups, since: seconds(*in.StartTime, 0), end: seconds(*in.EndTime, 999), created: c.s.o.Now()}
	if err := c.s.queries.start(q, parsed, int(or(in.Limit, 0)), c.s, c.s.o.AccountID); err != nil {
		return nil, err
	}
	return struct {
		QueryID string `json:"queryId"`
	}{q.id}, nil
}

func (in *startQueryInput) check() error {
	var v violations
	v.OneOf("queryLanguage", in.QueryLanguage, "CWLI", "SQL", "PPL")
	v.Text("logGroupName", in.LogGroupName, groupName)
	v.names("logGroupNames", in.LogGroupNames, maxQueryGroups, groupName)
	v.names("logGroupIdentifiers", in.LogGroupIdentifiers, maxQueryGroups, identifier)
	for name, n := range map[string]*int64{"startTime": in.StartTime, "endTime": in.EndTime} {
		if n == nil {
			v.Missing(name)
		}
		v.number(name, n, 0, 0)
	}
	v.Required("queryString", in.QueryString, queryText)
	v.number("limit", in.Limit, 1, insights.MaxRows)
	if err := v.err(); err != nil {
		return err
	}
	if *in.EndTime < *in.StartTime {
		return invalidParameter("End time should not be less than start time.")
	}
	return nil
}

// groups are the groups that are asked for, which must be there.
func (in *startQueryInput) groups(c *call) (names []string, err error) {
	ways := 0
	if in.LogGroupName != nil {
		ways++
		names = []string{*in.LogGroupName}
	}
	if in.LogGroupNames != nil {
		ways++
		names = in.LogGroupNames
	}
	if in.LogGroupIdentifiers != nil {
		ways++
		for _, id := range in.LogGroupIdentifiers {
			name, err := c.groupOf(id)
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	if ways != 1 {
		return nil, invalidParameter("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be given.")
	}
	for _, name := range names {
		if _, err := c.logs().Group(c.ctx(), name); errors.Is(err, logstore.ErrNoGroup) {
			return nil, fail("ResourceNotFoundException", "Log group '%s' does not exist for account ID '%s'", name, c.s.o.AccountID)
		} else if err != nil {
			return nil, err
		}
	}
	return names, nil
}
