package logsapi

import (
	"slices"
	"strings"

	"thaw/internal/shape"
	"thaw/logstore"
)

// longNames is what creating says of a name that is too long, other than the framework of the service does elsewhere.
func longNames(names ...*string) error {
	for _, n := range names {
		if n != nil && len(*n) > longestName {
			return invalidParameter("Invalid LogGroup or LogStream, both must have length less than or equal to %d.", longestName)
		}
	}
	return nil
}

// classes of log groups. Only the first is there; the others would say no different.
var classes = []string{"STANDARD", "INFREQUENT_ACCESS", "DELIVERY"}

// createLogGroup answers CreateLogGroup. kmsKeyId and deletion protection have no effect.
func createLogGroup(c *call) (any, error) {
	in, err := decode[struct {
		LogGroupName  *string           `json:"logGroupName"`
		LogGroupClass *string           `json:"logGroupClass"`
		Tags          map[string]string `json:"tags"`
	}](c)
	if err != nil {
		return nil, err
	}
	if err := longNames(in.LogGroupName); err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	v.OneOf("logGroupClass", in.LogGroupClass, classes...)
	v.tags(in.Tags)
	if err := v.err(); err != nil {
		return nil, err
	}
	return nil, c.logs().CreateGroup(c.ctx(), *in.LogGroupName, in.Tags)
}

// onlyGroup is the request of operations that want a group's name alone.
type onlyGroup struct {
	LogGroupName *string `json:"logGroupName"`
}

func (c *call) onlyGroup() (string, error) {
	in, err := decode[onlyGroup](c)
	if err != nil {
		return "", err
	}
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	return or(in.LogGroupName, ""), v.err()
}

// deleteLogGroup answers DeleteLogGroup. What a function writes later begins the group anew.
func deleteLogGroup(c *call) (any, error) {
	name, err := c.onlyGroup()
	if err != nil {
		return nil, err
	}
	if _, err := c.logs().Group(c.ctx(), name); err != nil { // with what is still on its way to disk
		return nil, err
	}
	if c.s.o.Feed != nil {
		if err := c.s.o.Feed.Forget(c.ctx(), name); err != nil {
			return nil, err
		}
	}
	return nil, c.logs().DeleteGroup(name)
}

// logGroup is the wire's.
type logGroup struct {
	ARN                string `json:"arn"`
	CreationTime       int64  `json:"creationTime"`
	DeletionProtection *bool  `json:"deletionProtectionEnabled,omitempty"`
	LogGroupARN        string `json:"logGroupArn"`
	LogGroupClass      string `json:"logGroupClass"`
	LogGroupName       string `json:"logGroupName"`
	MetricFilterCount  int    `json:"metricFilterCount"`
	RetentionInDays    int    `json:"retentionInDays,omitempty"`
	StoredBytes        *int64 `json:"storedBytes,omitempty"`
}

func (c *call) logGroup(g logstore.Group, whole bool) logGroup {
	arn := c.groupARN(g.Name)
	out := logGroup{ARN: arn + ":*", CreationTime: g.Created.UnixMilli(), LogGroupARN: arn, LogGroupClass: classes[0],
		LogGroupName: g.Name, RetentionInDays: g.Retention}
	if whole { // a search by pattern leaves these out: recorded
		out.DeletionProtection, out.StoredBytes = new(bool), &g.Bytes
	}
	return out
}

// describeLogGroups answers DescribeLogGroups: by name, a prefix of it, or a part of it.
func describeLogGroups(c *call) (any, error) {
	in, err := decode[struct {
		Prefix      *string  `json:"logGroupNamePrefix"`
		Pattern     *string  `json:"logGroupNamePattern"`
		Class       *string  `json:"logGroupClass"`
		Identifiers []string `json:"logGroupIdentifiers"`
		NextToken   *string  `json:"nextToken"`
		Limit       *int64   `json:"limit"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Text("logGroupNamePrefix", in.Prefix, groupName)
	v.Text("logGroupNamePattern", in.Pattern, groupPart)
	v.OneOf("logGroupClass", in.Class, classes...)
	v.names("logGroupIdentifiers", in.Identifiers, 50, identifier)
	v.Text("nextToken", in.NextToken, someToken)
	v.number("limit", in.Limit, 1, 50)
	if err := v.err(); err != nil {
		return nil, err
	}
	if in.Prefix != nil && in.Pattern != nil {
		return nil, invalidParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	wanted := map[string]bool{}
	for _, id := range in.Identifiers {
		name, err := c.groupOf(id)
		if err != nil {
			return nil, err
		}
		wanted[name] = true
	}
	groups := slices.DeleteFunc(c.logs().Groups(), func(g logstore.Group) bool {
		return !strings.HasPrefix(g.Name, or(in.Prefix, "")) || !strings.Contains(g.Name, or(in.Pattern, "")) ||
			or(in.Class, classes[0]) != classes[0] || in.Identifiers != nil && !wanted[g.Name]
	})
	page, next, err := pageOf(groups, func(g logstore.Group) string { return g.Name }, in.NextToken, or(in.Limit, 50))
	if err != nil {
		return nil, err
	}
	out := struct {
		LogGroups []logGroup `json:"logGroups"`
		NextToken string     `json:"nextToken,omitempty"`
	}{[]logGroup{}, next}
	for _, g := range page {
		out.LogGroups = append(out.LogGroups, c.logGroup(g, in.Pattern == nil))
	}
	return out, nil
}

// retentions are the numbers of days that there are. Source: PutRetentionPolicy.
var retentions = []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// putRetentionPolicy answers PutRetentionPolicy. Events past their retention are not given out any more, and go.
func putRetentionPolicy(c *call) (any, error) {
	in, err := decode[struct {
		onlyGroup
		Days *int64 `json:"retentionInDays"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	switch {
	case in.Days == nil:
		v.Missing("retentionInDays")
	case !slices.Contains(retentions, *in.Days):
		v.Add(quoteNumber(*in.Days), "retentionInDays", "Member must satisfy enum value set: ["+joinNumbers(retentions)+"]")
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return nil, c.logs().Configure(c.ctx(), *in.LogGroupName, func(g *logstore.Group) { g.Retention = int(*in.Days) })
}

// deleteRetentionPolicy answers DeleteRetentionPolicy.
func deleteRetentionPolicy(c *call) (any, error) {
	name, err := c.onlyGroup()
	if err != nil {
		return nil, err
	}
	return nil, c.logs().Configure(c.ctx(), name, func(g *logstore.Group) { g.Retention = 0 })
}

// regexPart is a pattern of ListLogGroups: parts of names with | between, each of three characters at least; ^ ties one
// to the beginning.
var regexPart = shape.NewText(3, 129, `(\^?[\.\-_\/#A-Za-z0-9]{3,24})(\|\^?[\.\-_\/#A-Za-z0-9]{3,24}){0,4}`)

// listLogGroups answers ListLogGroups.
func listLogGroups(c *call) (any, error) {
	in, err := decode[struct {
		Pattern   *string `json:"logGroupNamePattern"`
		Class     *string `json:"logGroupClass"`
		NextToken *string `json:"nextToken"`
		Limit     *int64  `json:"limit"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Text("logGroupNamePattern", in.Pattern, regexPart)
	v.OneOf("logGroupClass", in.Class, classes...)
	v.Text("nextToken", in.NextToken, someToken)
	v.number("limit", in.Limit, 1, 1000)
	if err := v.err(); err != nil {
		return nil, err
	}
	groups := slices.DeleteFunc(c.logs().Groups(), func(g logstore.Group) bool {
		return or(in.Class, classes[0]) != classes[0] || in.Pattern != nil && !slices.ContainsFunc(strings.Split(*in.Pattern, "|"), func(part string) bool {
			begin, tied := strings.CutPrefix(part, "^")
			return tied && strings.HasPrefix(g.Name, begin) || !tied && strings.Contains(g.Name, part)
		})
	})
	page, next, err := pageOf(groups, func(g logstore.Group) string { return g.Name }, in.NextToken, or(in.Limit, 50))
	if err != nil {
		return nil, err
	}
	type summary struct {
		LogGroupARN   string `json:"logGroupArn"`
		LogGroupClass string `json:"logGroupClass"`
		LogGroupName  string `json:"logGroupName"`
	}
	out := struct {
		LogGroups []summary `json:"logGroups"`
		NextToken string    `json:"nextToken,omitempty"`
	}{[]summary{}, next}
	for _, g := range page {
		out.LogGroups = append(out.LogGroups, summary{c.groupARN(g.Name), classes[0], g.Name})
	}
	return out, nil
}
