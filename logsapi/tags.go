package logsapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thaw/logstore"
)

const maxTags = 50

func (v *violations) tags(tags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		v.Text("tags.key", &key, tagKey)
		v.Text(fmt.Sprintf("tags.%s.member", key), &value, tagValue)
	}
	if len(tags) > maxTags {
		v.Add("'tags'", "tags", fmt.Sprintf("Member must have length less than or equal to %d", maxTags))
	}
}

// resource is the group that an ARN names.
func (c *call) resource(arn *string, v *violations) (string, error) {
	v.Required("resourceArn", arn, resourceARN)
	if err := v.err(); err != nil {
		return "", err
	}
	if !strings.HasPrefix(*arn, "arn:") {
		return "", invalidParameter("Invalid arn: %s", *arn)
	}
	return c.groupOf(*arn)
}

func (c *call) setTags(group string, tags map[string]string) error {
	tooMany := false
	err := c.logs().Configure(c.ctx(), group, func(g *logstore.Group) {
		merged := map[string]string{}
		maps.Copy(merged, g.Tags)
		maps.Copy(merged, tags)
		if tooMany = len(merged) > maxTags; !tooMany {
			g.Tags = merged
		}
	})
	if err == nil && tooMany {
		return fail("TooManyTagsException", "The resource has more than %d tags.", maxTags)
	}
	return err
}

func (c *call) dropTags(group string, keys []string) error {
	return c.logs().Configure(c.ctx(), group, func(g *logstore.Group) {
		for _, k := range keys {
			delete(g.Tags, k)
		}
	})
}

type tagsAnswer struct {
	Tags map[string]string `json:"tags"`
}

func (c *call) tagsOf(group string) (any, error) {
	g, err := c.logs().Group(c.ctx(), group)
	if err != nil {
		return nil, err
	}
	if g.Tags == nil {
		g.Tags = map[string]string{}
	}
	return tagsAnswer{g.Tags}, nil
}

type taggedResource struct {
	ResourceARN *string           `json:"resourceArn"`
	Tags        map[string]string `json:"tags"`
	TagKeys     []string          `json:"tagKeys"`
}

// tagResource answers TagResource.
func tagResource(c *call) (any, error) {
	in, err := decode[taggedResource](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.tags(in.Tags)
	group, err := c.resource(in.ResourceARN, &v)
	if err != nil {
		return nil, err
	}
	return nil, c.setTags(group, in.Tags)
}

// tagged reads a request about the tags of a log group that sets none.
func (c *call) tagged() (in taggedResource, group string, err error) {
	if in, err = decode[taggedResource](c); err != nil {
		return in, "", err
	}
	group, err = c.resource(in.ResourceARN, &violations{})
	return in, group, err
}

// untagResource answers UntagResource.
func untagResource(c *call) (any, error) {
	in, group, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, c.dropTags(group, in.TagKeys)
}

// listTagsForResource answers ListTagsForResource.
func listTagsForResource(c *call) (any, error) {
	_, group, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return c.tagsOf(group)
}

// tagLogGroup answers TagLogGroup, the older form of TagResource.
func tagLogGroup(c *call) (any, error) {
	in, err := decode[struct {
		onlyGroup
		Tags map[string]string `json:"tags"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	v.tags(in.Tags)
	if err := v.err(); err != nil {
		return nil, err
	}
	return nil, c.setTags(*in.LogGroupName, in.Tags)
}

// untagLogGroup answers UntagLogGroup.
func untagLogGroup(c *call) (any, error) {
	in, err := decode[struct {
		onlyGroup
		Tags []string `json:"tags"`
	}](c)
	if err != nil {
		return nil, err
	}
	var v violations
	v.Required("logGroupName", in.LogGroupName, groupName)
	if err := v.err(); err != nil {
		return nil, err
	}
	return nil, c.dropTags(*in.LogGroupName, in.Tags)
}

// listTagsLogGroup answers ListTagsLogGroup.
func listTagsLogGroup(c *call) (any, error) {
	name, err := c.onlyGroup()
	if err != nil {
		return nil, err
	}
	return c.tagsOf(name)
}
