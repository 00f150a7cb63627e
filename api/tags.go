package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"thaw/function"
)

// TagResource: POST /2017-03-31/tags/{Resource} -> 204. Supported for functions; nothing else that can have tags exists yet.
func (c *call) tagResource() error {
	var in struct{ Tags map[string]string }
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	v.notNull("tags", in.Tags == nil)
	v.tags(in.Tags)
	t, err := c.tagTarget(&v)
	if err != nil {
		return err
	}
	if err := c.s.Plane.Tag(c.r.Context(), t.key, in.Tags); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}

// UntagResource: DELETE /2017-03-31/tags/{Resource}?tagKeys= -> 204. Supported; keys that are not there are ignored.
func (c *call) untagResource() error {
	c.query("tagKeys")
	keys := c.values["tagKeys"]
	var v violations
	v.notNull("tagKeys", len(keys) == 0)
	for _, k := range keys {
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 {
			v.add(quoted("["+strings.Join(keys, ", ")+"]"), "tagKeys", "Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must not be null]")
			break
		}
	}
	t, err := c.tagTarget(&v)
	if err != nil {
		return err
	}
	if err := c.s.Plane.Untag(c.r.Context(), t.key, keys); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}

// ListTags: GET /2017-03-31/tags/{Resource} -> 200. Supported.
func (c *call) listTags() error {
	var v violations
	t, err := c.tagTarget(&v)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	tags := e.Record.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return c.json(http.StatusOK, struct{ Tags map[string]string }{tags})
}

// tagTarget reads the ARN of the path. Violations collected before are reported with its own.
func (c *call) tagTarget(v *violations) (target, error) {
	if !tagARNRE.MatchString(c.label) {
		v.add(quoted(c.label), "resource", patternRule(tagARNPattern))
	} else if len(c.label) > 256 {
		v.add(quoted(c.label), "resource", "Member must have length less than or equal to 256")
	}
	if err := v.err(); err != nil {
		return target{}, err
	}
	switch kind := strings.SplitN(c.label, ":", 7)[5]; kind {
	case "function":
	case "event-source-mapping":
		return target{}, fail("ResourceNotFoundException", "Event source mapping not found: %s", c.label)
	case "capacity-provider":
		return target{}, fail("ResourceNotFoundException", "Capacity provider not found: %s", c.label)
	case "code-signing-config":
		return target{}, fail("CodeSigningConfigNotFoundException", "The Lambda code signing configuration %s can not be found.", c.label)
	default:
		return target{}, fail("ResourceNotFoundException", "The resource you requested does not exist.")
	}
	ref, err := function.ParseRead(c.label)
	if err != nil {
		return target{}, fmt.Errorf("tags of %q: %w", c.label, err)
	}
	t, err := c.resolve(ref, "")
	if err == nil && t.qualifier != "" {
		err = invalidParameter("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return t, err
}

// tags checks the sizes of keys and values. Source: the model's TagKey and TagValue.
func (v *violations) tags(tags map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 {
			v.add(quoted("{"+k+"="+tags[k]+"}"), "tags", "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must not be null]")
			return
		}
		if utf8.RuneCountInString(tags[k]) > 256 {
			v.add(quoted("{"+k+"="+tags[k]+"}"), "tags", "Map value must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 0, Member must not be null]")
			return
		}
	}
}
