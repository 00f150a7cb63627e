package node

import (
	"context"

	"thaw/admin"
	"thaw/function"
	"thaw/jetstream"
	"thaw/logfeed"
)

// openFeed opens the subscription filters of log groups.
func (n *Node) openFeed(ctx context.Context, shared pushParts) (pushSource, error) {
	docs, err := shared.records.Documents(ctx, jetstream.Filters)
	if err != nil {
		return pushSource{}, err
	}
	n.feed, err = logfeed.Open(ctx, logfeed.Options{Documents: docs, Logs: n.logs, Functions: shared.functions, GroupOf: n.groupOf, Log: n.log})
	if err != nil {
		return pushSource{}, err
	}
	n.undo.Add(func() error { n.feed.Close(); return nil })
	n.logsAPI.Subscribe(n.feed)
	return pushSource{triggers: func() []admin.Trigger { return feedTriggers(n.feed) }}, nil
}

// groupOf is the log group of a function, as it is now; empty: there is no such function.
func (n *Node) groupOf(arn function.ARN) string {
	r, err := function.ParseRead(string(arn))
	if err != nil {
		return ""
	}
	e := n.plane.View().Get(function.Key{Account: r.Account, Region: r.Region, Name: r.Name})
	if e == nil {
		return ""
	}
	if r.Qualifier == "" {
		r.Qualifier = function.Latest
	}
	v := e.Named(r.Qualifier)
	if v == nil {
		return ""
	}
	if g := v.Config.Logging.Group; g != "" {
		return g
	}
	return "/aws/lambda/" + r.Name
}

// feedTriggers are the filters as `thaw trigger ls` shows them.
func feedTriggers(feed *logfeed.Feed) []admin.Trigger {
	var list []admin.Trigger
	for _, f := range feed.List("") {
		from := f.Group
		if f.Pattern != "" {
			from += " " + f.Pattern
		}
		list = append(list, admin.Trigger{Kind: "logs", Name: f.Name, Region: f.Region, Function: string(f.Function), From: from, Managed: true})
	}
	return list
}
