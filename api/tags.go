package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"thaw/function"
	"thaw/snapshot"
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
	if len(in.Tags) == 0 {
		return invalidParameter("An error occurred and the request cannot be processed.")
	}
	return c.changeTags(t, func(tags map[string]string) error {
		maps.Copy(tags, in.Tags)
		if err := checkTagCount(len(tags)); err != nil {
			return err
		}
		return c.s.checkSnapshotTags(slices.Collect(maps.Keys(in.Tags)), tags)
	})
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
	return c.changeTags(t, func(tags map[string]string) error {
		for _, k := range keys {
			delete(tags, k)
		}
		return c.s.checkSnapshotTags(keys, tags)
	})
}

// ListTags: GET /2017-03-31/tags/{Resource} -> 200. Supported.
func (c *call) listTags() error {
	var v violations
	t, err := c.tagTarget(&v)
	if err != nil {
		return err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return notFound(t.arn())
	}
	tags := e.Record.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return c.json(http.StatusOK, struct{ Tags map[string]string }{tags})
}

// changeTags leaves RevisionId alone: tags are no part of the configuration.
func (c *call) changeTags(t target, f func(map[string]string) error) error {
	err := c.s.exclusive(t.key, func() error {
		e, err := c.s.change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
			if r.Tags == nil {
				r.Tags = map[string]string{}
			}
			return f(r.Tags)
		})
		if err == nil && c.s.Snapshots != nil {
			c.s.Snapshots.Retag(e.Record.ARN(), e.Record.Tags)
		}
		return err
	})
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.arn())
	}
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
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

// checkSnapshotTags refuses tags from which no snapshot policy can be read, when those that a request changes are about it.
func (s *Server) checkSnapshotTags(changed []string, tags map[string]string) error {
	about := func(k string) bool {
		return k == snapshot.TagRefresh || k == snapshot.TagPrime || strings.HasPrefix(k, snapshot.TagEvent)
	}
	if s.Snapshots == nil {
		return nil
	}
	if v, ok := tags[function.TagSnapStartLatest]; ok && slices.Contains(changed, function.TagSnapStartLatest) && v != "on" && v != "off" {
		return invalidParameter("Tag %s: %q is neither on nor off", function.TagSnapStartLatest, v)
	}
	if !slices.ContainsFunc(changed, about) {
		return nil
	}
	if _, err := snapshot.ParseTags(tags); err != nil {
		return invalidParameter("%s", upperFirst(err.Error()))
	}
	return nil
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func checkTagCount(n int) error {
	if n > function.MaxTags {
		return invalidParameter("Number of tags exceeds resource tag limit.")
	}
	return nil
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
