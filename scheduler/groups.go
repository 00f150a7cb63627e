package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"thaw/internal/shape"
)

// Shapes of the service's model. Source: botocore 1.43.11, scheduler 2021-06-30.
var (
	nameText    = shape.NewText(1, 64, `[0-9a-zA-Z-_.]+`)
	tokenText   = shape.NewText(1, 64, `[a-zA-Z0-9-_]+`)
	pageToken   = shape.NewText(1, 2048, "")
	tagKey      = shape.NewText(1, 128, "")
	tagValue    = shape.NewText(1, 256, "")
	description = shape.NewText(0, 512, "")
	expression  = shape.NewText(1, 256, "")
	zoneText    = shape.NewText(1, 50, "")
	anyARN      = shape.NewText(1, 1600, "")
	roleARN     = shape.NewText(1, 1600, `arn:aws(-[a-z]+)?:iam::\d{12}:role\/[\w+=,.@\/-]+`)
	queueARN    = shape.NewText(1, 1600, `arn:aws(-[a-z]+)?:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+`)
	groupIDText = shape.NewText(1, 128, "")
	detailType  = shape.NewText(1, 128, "")
	sourceText  = shape.NewText(1, 256, "")
	kmsKey      = shape.NewText(1, 2048, `arn:aws(-[a-z]+)?:kms:[a-z0-9\-]+:\d{12}:(key|alias)\/[0-9a-zA-Z-_]*`)
)

const maxTags = 200

type tagList []struct{ Key, Value *string }

func (l tagList) check(v *shape.Violations) {
	for i := range l {
		v.Required(fmt.Sprintf("tags.%d.member.key", i+1), l[i].Key, tagKey)
		v.Required(fmt.Sprintf("tags.%d.member.value", i+1), l[i].Value, tagValue)
	}
	v.Length("tags", len(l), 0, maxTags)
}

func (l tagList) merge(was map[string]string) map[string]string {
	all := maps.Clone(was)
	if all == nil {
		all = map[string]string{}
	}
	for _, t := range l {
		all[*t.Key] = *t.Value
	}
	return all
}

// group is the record of a group; nil: there is none.
func (s *Server) group(k groupKey) *Group {
	if r := s.records.Get(k.document()); r != nil {
		return r.Group
	}
	if k.name == defaultGroup {
		return &Group{Region: k.region, Name: k.name}
	}
	return nil
}

func (s *Server) needGroup(k groupKey) (*Group, error) {
	g := s.group(k)
	if g == nil {
		return nil, fail("ResourceNotFoundException", "Schedule group %s does not exist.", k.name)
	}
	return g, nil
}

// changeGroup replaces a group by what change makes of a copy of it.
func (s *Server) changeGroup(ctx context.Context, k groupKey, change func(*Group) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	was, err := s.needGroup(k)
	if err != nil {
		return err
	}
	g := *was
	if err := change(&g); err != nil {
		return err
	}
	g.Modified = s.o.Now()
	return s.records.Put(ctx, k.document(), &Record{Group: &g})
}

// groupAnswer is a group as answers have it.
type groupAnswer struct {
	Arn, Name, State     string
	CreationDate         float64 `json:",omitempty"`
	LastModificationDate float64 `json:",omitempty"`
}

func (s *Server) groupAnswer(g *Group) groupAnswer {
	return groupAnswer{s.groupARN(groupKey{g.Region, g.Name}), g.Name, "ACTIVE", seconds(g.Created), seconds(g.Modified)}
}

// seconds is a time as the protocol has it; 0: none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func (c *call) groupName() (groupKey, error) {
	var v shape.Violations
	v.Text("name", &c.name, nameText)
	v.Text("clientToken", c.parameter("clientToken"), tokenText)
	return groupKey{c.region, c.name}, violated(v)
}

func createGroup(c *call) (any, error) {
	in, err := decode[struct {
		ClientToken *string
		Tags        tagList
	}](c)
	if err != nil {
		return nil, err
	}
	k, err := c.groupName()
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Text("clientToken", in.ClientToken, tokenText)
	in.Tags.check(&v)
	if err := violated(v); err != nil {
		return nil, err
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	answer := struct{ ScheduleGroupArn string }{c.s.groupARN(k)}
	if was := c.s.group(k); was != nil {
		if in.ClientToken != nil && was.Token == *in.ClientToken {
			return answer, nil
		}
		return nil, fail("ConflictException", "Schedule group %s already exists.", k.name)
	}
	now := c.s.o.Now()
	g := &Group{Region: k.region, Name: k.name, Tags: in.Tags.merge(nil), Token: given(in.ClientToken), Created: now, Modified: now}
	return answer, c.s.records.Put(c.ctx(), k.document(), &Record{Group: g})
}

func getGroup(c *call) (any, error) {
	k, err := c.groupName()
	if err != nil {
		return nil, err
	}
	g, err := c.s.needGroup(k)
	if err != nil {
		return nil, err
	}
	return c.s.groupAnswer(g), nil
}

// deleteGroup answers DeleteScheduleGroup: its schedules are deleted, too.
func deleteGroup(c *call) (any, error) {
	k, err := c.groupName()
	if err != nil {
		return nil, err
	}
	if k.name == defaultGroup {
		return nil, invalid("The default schedule group cannot be deleted.")
	}
	c.s.changing.Lock()
	defer c.s.changing.Unlock()
	if _, err := c.s.needGroup(k); err != nil {
		return nil, err
	}
	for _, x := range c.s.schedules(k.region, k.name) {
		if err := c.s.remove(c.ctx(), x); err != nil {
			return nil, err
		}
	}
	return nil, c.s.records.Delete(c.ctx(), k.document())
}

// pageOf is the part of a list that a request asks for.
func pageOf[T any](c *call, list []T, name func(T) string) ([]T, *string, error) {
	var v shape.Violations
	limit := 100
	if text := c.parameter("MaxResults"); text != nil {
		n, err := strconv.Atoi(*text)
		if err != nil {
			return nil, nil, invalid("MaxResults is not a number.")
		}
		limit = n
	}
	v.Number("maxResults", &limit, 1, 100)
	v.Text("nextToken", c.parameter("NextToken"), pageToken)
	v.Text("namePrefix", c.parameter("NamePrefix"), nameText)
	if err := violated(v); err != nil {
		return nil, nil, err
	}
	part, next, err := shape.Page(list, name, c.parameter("NextToken"), limit)
	if err != nil {
		return nil, nil, invalid("NextToken is not valid.")
	}
	return part, next, nil
}

func listGroups(c *call) (any, error) {
	list := []groupAnswer{c.s.groupAnswer(c.s.group(groupKey{c.region, defaultGroup}))}
	for _, r := range c.s.records.All() {
		if r.Group != nil && r.Group.Region == c.region && r.Group.Name != defaultGroup {
			list = append(list, c.s.groupAnswer(r.Group))
		}
	}
	list = slices.DeleteFunc(list, func(g groupAnswer) bool { return !strings.HasPrefix(g.Name, given(c.parameter("NamePrefix"))) })
	slices.SortFunc(list, func(a, b groupAnswer) int { return strings.Compare(a.Name, b.Name) })
	part, next, err := pageOf(c, list, func(g groupAnswer) string { return g.Name })
	return struct {
		ScheduleGroups []groupAnswer
		NextToken      *string `json:",omitempty"`
	}{append([]groupAnswer{}, part...), next}, err
}

// tagged is the group whose tags a request is about.
func (c *call) tagged() (groupKey, error) {
	k, ok := c.s.groupOf(c.name)
	if !ok {
		return k, invalid("%s is not the ARN of a schedule group of this server: only those have tags.", c.name)
	}
	_, err := c.s.needGroup(k)
	return k, err
}

func tagResource(c *call) (any, error) {
	in, err := decode[struct{ Tags tagList }](c)
	if err != nil {
		return nil, err
	}
	var v shape.Violations
	in.Tags.check(&v)
	if err := violated(v); err != nil {
		return nil, err
	}
	k, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, c.s.changeGroup(c.ctx(), k, func(g *Group) error {
		if g.Tags = in.Tags.merge(g.Tags); len(g.Tags) > maxTags {
			return fail("ServiceQuotaExceededException", "A schedule group has %d tags at most.", maxTags)
		}
		return nil
	})
}

func untagResource(c *call) (any, error) {
	k, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, c.s.changeGroup(c.ctx(), k, func(g *Group) error {
		g.Tags = tagList(nil).merge(g.Tags)
		for _, name := range c.query["TagKeys"] {
			delete(g.Tags, name)
		}
		return nil
	})
}

func listTags(c *call) (any, error) {
	k, err := c.tagged()
	if err != nil {
		return nil, err
	}
	type tag struct{ Key, Value string }
	tags := c.s.group(k).Tags
	list := []tag{}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, tag{name, tags[name]})
	}
	return struct{ Tags []tag }{list}, nil
}
