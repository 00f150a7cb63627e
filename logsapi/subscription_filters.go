package logsapi

import (
	"errors"
	"strings"

	"thaw/function"
	"thaw/internal/shape"
	"thaw/invoke"
	"thaw/logfeed"
	"thaw/push"
)

// Shapes of subscription filters.
var (
	filterName   = shape.NewText(1, 512, `[^:*]*`)
	destination  = shape.NewText(1, 1<<20, "")
	fieldsChoice = shape.NewText(0, 2000, "")
)

// errNoFeed is the answer where the server has no subscription filters.
var errNoFeed = fail("NotImplementedException", "Subscription filters are not there on this server.")

// subscriptionFilter is the wire's.
type subscriptionFilter struct {
	Name         string `json:"filterName"`
	Group        string `json:"logGroupName"`
	Pattern      string `json:"filterPattern"`
	Destination  string `json:"destinationArn"`
	Distribution string `json:"distribution"`
	Transformed  bool   `json:"applyOnTransformedLogs"`
	Created      int64  `json:"creationTime"`
}

// putSubscriptionFilter answers PutSubscriptionFilter, for functions: other destinations are refused in words.
func putSubscriptionFilter(c *call) (any, error) {
	in, err := decode[struct {
		Group        *string  `json:"logGroupName"`
		Name         *string  `json:"filterName"`
		Pattern      *string  `json:"filterPattern"`
		Destination  *string  `json:"destinationArn"`
		Role         *string  `json:"roleArn"`
		Distribution *string  `json:"distribution"`
		Transformed  bool     `json:"applyOnTransformedLogs"`
		Fields       *string  `json:"fieldSelectionCriteria"`
		System       []string `json:"emitSystemFields"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.Group, groupName)
	v.Required("filterName", in.Name, filterName)
	v.Required("filterPattern", in.Pattern, patternText)
	v.Required("destinationArn", in.Destination, destination)
	v.OneOf("distribution", in.Distribution, "Random", "ByLogStream")
	v.Text("fieldSelectionCriteria", in.Fields, fieldsChoice)
	if err := v.err(); err != nil {
		return nil, err
	}
	feed := c.s.o.Feed
	if feed == nil {
		return nil, errNoFeed
	}
	p := strings.SplitN(*in.Destination, ":", 7)
	switch {
	case len(p) < 6 || p[0] != "arn":
		return nil, invalidParameter("destinationArn is not an ARN: %s", *in.Destination)
	case p[2] != "lambda":
		return nil, invalidParameter("destinationArn for vendor %s cannot be used: subscription filters of this server send to Lambda functions. Let a function send on what it gets.", p[2])
	case or(in.Role, "") != "":
		return nil, invalidParameter("destinationArn for vendor lambda cannot be used with roleArn")
	case or(in.Fields, "") != "" || len(in.System) > 0:
		return nil, invalidParameter("fieldSelectionCriteria and emitSystemFields cannot be used: they are of log groups of several accounts, and this server has one.")
	}
	if _, err := c.logs().Group(c.ctx(), *in.Group); err != nil {
		return nil, err
	}
	err = feed.Put(c.ctx(), &logfeed.Filter{Group: *in.Group, Name: *in.Name, Region: c.region, Account: c.s.o.AccountID, Pattern: *in.Pattern,
		Function: function.ARN(*in.Destination), Distribution: or(in.Distribution, "ByLogStream"), Transformed: in.Transformed, Created: c.s.o.Now()})
	return nil, filterError(err)
}

// filterError is the answer to what a filter could not be made for; nil: it was.
func filterError(err error) error {
	var loop *logfeed.LoopError
	switch {
	case errors.Is(err, logfeed.ErrMany):
		return fail("LimitExceededException", "Resource limit exceeded.")
	case errors.Is(err, logfeed.ErrNone):
		return fail("ResourceNotFoundException", "The specified subscription filter does not exist.")
	case errors.As(err, &loop):
		return invalidParameter("%s%s.", strings.ToUpper(loop.Error()[:1]), loop.Error()[1:])
	case errors.As(err, new(*push.NotAllowedError)), errors.As(err, new(*invoke.NotFoundError)):
		return invalidParameter("Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your function. (%v)", err)
	}
	return err
}

// describeSubscriptionFilters answers DescribeSubscriptionFilters.
func describeSubscriptionFilters(c *call) (any, error) {
	in, err := decode[struct {
		Group     *string `json:"logGroupName"`
		Prefix    *string `json:"filterNamePrefix"`
		NextToken *string `json:"nextToken"`
		Limit     *int64  `json:"limit"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.Group, groupName)
	v.Text("filterNamePrefix", in.Prefix, filterName)
	v.Text("nextToken", in.NextToken, someToken)
	v.number("limit", in.Limit, 1, 50)
	if err := v.err(); err != nil {
		return nil, err
	}
	if _, err := c.logs().Group(c.ctx(), *in.Group); err != nil {
		return nil, err
	}
	out := struct {
		Filters   []subscriptionFilter `json:"subscriptionFilters"`
		NextToken string               `json:"nextToken,omitempty"`
	}{Filters: []subscriptionFilter{}}
	if c.s.o.Feed == nil {
		return out, nil
	}
	var list []*logfeed.Filter
	for _, f := range c.s.o.Feed.List(*in.Group) {
		if strings.HasPrefix(f.Name, or(in.Prefix, "")) {
			list = append(list, f)
		}
	}
	page, next, err := pageOf(list, func(f *logfeed.Filter) string { return f.Name }, in.NextToken, or(in.Limit, 50))
	if err != nil {
		return nil, err
	}
	out.NextToken = next
	for _, f := range page {
		out.Filters = append(out.Filters, subscriptionFilter{f.Name, f.Group, f.Pattern, string(f.Function), f.Distribution,
			f.Transformed, f.Created.UnixMilli()})
	}
	return out, nil
}

// deleteSubscriptionFilter answers DeleteSubscriptionFilter.
func deleteSubscriptionFilter(c *call) (any, error) {
	in, err := decode[struct {
		Group *string `json:"logGroupName"`
		Name  *string `json:"filterName"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.Group, groupName)
	v.Required("filterName", in.Name, filterName)
	if err := v.err(); err != nil {
		return nil, err
	}
	if _, err := c.logs().Group(c.ctx(), *in.Group); err != nil {
		return nil, err
	}
	if c.s.o.Feed == nil {
		return nil, filterError(logfeed.ErrNone)
	}
	return nil, filterError(c.s.o.Feed.Delete(c.ctx(), *in.Group, *in.Name))
}
