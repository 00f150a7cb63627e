package eventbridge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"thaw/internal/shape"
)

const maxTags = 50

// tagList are tags as requests have them.
type tagList []struct{ Key, Value *string }

func (l tagList) check(v *shape.Violations) {
	for i := range l {
		v.Required(fmt.Sprintf("tags.%d.member.key", i+1), l[i].Key, tagKey)
		v.Required(fmt.Sprintf("tags.%d.member.value", i+1), l[i].Value, tagValue)
	}
	v.Length("tags", len(l), 0, maxTags)
}

// merge are the tags together with those that were there.
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

type tag struct{ Key, Value string }

// resource calls f with a copy of the tags of what an ARN names, and stores what it makes of them; nil: they stay.
func (s *Server) resource(ctx context.Context, arn string, f func(map[string]string) (map[string]string, error)) error {
	a, ok := parseARN(arn)
	if !ok || a.account != s.o.AccountID {
		return invalid("Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
	}
	switch a.kind {
	case "event-bus":
		return s.changeBus(ctx, busKey{a.region, a.path}, func(b *Bus) error {
			tags, err := f(maps.Clone(b.Tags))
			if tags == nil && err == nil {
				err = errSame
			}
			b.Tags = tags
			return err
		})
	case "rule":
		k := busKey{a.region, defaultBus}
		name := a.path
		if bus, rule, named := strings.Cut(a.path, "/"); named {
			k.name, name = bus, rule
		}
		return s.changeRule(ctx, k, name, func(r *Rule) error {
			tags, err := f(maps.Clone(r.Tags))
			if tags == nil && err == nil {
				err = errSame
			}
			r.Tags = tags
			return err
		})
	}
	return invalid("Parameter ResourceARN is not valid. Reason: buses and rules have tags.")
}

// errSame says that nothing is to be stored.
var errSame = fmt.Errorf("nothing has changed")

func same(err error) error {
	if err == errSame { //nolint:errorlint // it is never wrapped
		return nil
	}
	return err
}

type tagRequest struct {
	ResourceARN *string
	Tags        tagList
	TagKeys     []string
}

func (c *call) tagged() (in tagRequest, err error) {
	if in, err = decode[tagRequest](c); err != nil {
		return in, err
	}
	var v shape.Violations
	v.Required("resourceARN", in.ResourceARN, anyARN)
	in.Tags.check(&v)
	return in, violated(v)
}

func tagResource(c *call) (any, error) {
	in, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, same(c.s.resource(c.ctx(), *in.ResourceARN, func(was map[string]string) (map[string]string, error) {
		all := in.Tags.merge(was)
		if len(all) > maxTags {
			return nil, fail("LimitExceededException", "A resource has %d tags at most.", maxTags)
		}
		return all, nil
	}))
}

func untagResource(c *call) (any, error) {
	in, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, same(c.s.resource(c.ctx(), *in.ResourceARN, func(was map[string]string) (map[string]string, error) {
		rest := tagList(nil).merge(was)
		for _, k := range in.TagKeys {
			delete(rest, k)
		}
		return rest, nil
	}))
}

func listTagsForResource(c *call) (any, error) {
	in, err := c.tagged()
	if err != nil {
		return nil, err
	}
	list := []tag{}
	err = c.s.resource(c.ctx(), *in.ResourceARN, func(tags map[string]string) (map[string]string, error) {
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			list = append(list, tag{k, tags[k]})
		}
		return nil, nil
	})
	return struct{ Tags []tag }{list}, same(err)
}
