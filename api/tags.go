package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"thaw/controlplane"
	"thaw/function"
	"thaw/signing"
)

// TagResource: POST /2017-03-31/tags/{Resource} -> 204. Supported for functions, code signing
// configurations and event source mappings.
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
	if err := t.add(in.Tags); err != nil {
		return err
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
	if err := t.remove(keys); err != nil {
		return err
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
	tags, err := t.list()
	if err != nil {
		return err
	}
	if tags == nil {
		tags = map[string]string{}
	}
	return c.json(http.StatusOK, struct{ Tags map[string]string }{tags})
}

// tagged is a resource that can have tags.
type tagged struct {
	list   func() (map[string]string, error)
	add    func(tags map[string]string) error
	remove func(keys []string) error
}

// tagTarget reads the ARN of the path. Violations collected before are reported with its own.
func (c *call) tagTarget(v *violations) (tagged, error) {
	if !tagARNRE.MatchString(c.label) {
		v.add(quoted(c.label), "resource", patternRule(tagARNPattern))
	} else if len(c.label) > 256 {
		v.add(quoted(c.label), "resource", "Member must have length less than or equal to 256")
	}
	if err := v.err(); err != nil {
		return tagged{}, err
	}
	switch kind := strings.SplitN(c.label, ":", 7)[5]; kind {
	case "function":
	case "event-source-mapping":
		return c.taggedMapping()
	case "capacity-provider":
		return tagged{}, fail("ResourceNotFoundException", "Capacity provider not found: %s", c.label)
	case "code-signing-config":
		return c.taggedSigning()
	default:
		return tagged{}, fail("ResourceNotFoundException", "The resource you requested does not exist.")
	}
	return c.taggedFunction()
}

func (c *call) taggedFunction() (tagged, error) {
	ref, err := function.ParseRead(c.label)
	if err != nil {
		return tagged{}, fmt.Errorf("tags of %q: %w", c.label, err)
	}
	t, err := c.resolve(ref, "")
	if err == nil && t.qualifier != "" {
		err = invalidParameter("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	return tagged{
		list: func() (map[string]string, error) {
			e, err := c.entry(t)
			if err != nil {
				return nil, err
			}
			return e.Record.Tags, nil
		},
		add:    func(tags map[string]string) error { return absent(c.s.Plane.Tag(c.r.Context(), t.key, tags), t.arn()) },
		remove: func(keys []string) error { return absent(c.s.Plane.Untag(c.r.Context(), t.key, keys), t.arn()) },
	}, err
}

func (c *call) taggedMapping() (tagged, error) {
	m, err := c.mappingOf(mappingID(c.label))
	if err != nil || m.ARN() != c.label {
		return tagged{}, fail("ResourceNotFoundException", "Event source mapping not found: %s", c.label)
	}
	change := func(f func(tags map[string]string)) error {
		return mappingError(c.s.Sources.Tag(c.r.Context(), m.ID, f))
	}
	return tagged{
		list: func() (map[string]string, error) { return m.Tags, nil },
		add: func(tags map[string]string) error {
			return change(func(all map[string]string) { maps.Copy(all, tags) })
		},
		remove: func(keys []string) error {
			return change(func(all map[string]string) {
				maps.DeleteFunc(all, func(k, _ string) bool { return slices.Contains(keys, k) })
			})
		},
	}, nil
}

func (c *call) taggedSigning() (tagged, error) {
	gone := fail("CodeSigningConfigNotFoundException", "The Lambda code signing configuration %s can not be found.", c.label)
	config := c.s.Signing.Get(c.label)
	if config == nil {
		return tagged{}, gone
	}
	change := func(f func(map[string]string)) error {
		_, err := c.s.Signing.Update(c.r.Context(), c.label, func(next *signing.Config) error {
			f(next.Tags)
			return controlplane.CheckTagCount(len(next.Tags))
		})
		if errors.Is(err, signing.ErrNotFound) {
			return gone
		}
		return err
	}
	return tagged{
		list: func() (map[string]string, error) { return config.Tags, nil },
		add: func(tags map[string]string) error {
			if len(tags) == 0 {
				return invalidParameter("An error occurred and the request cannot be processed.")
			}
			return change(func(has map[string]string) { maps.Copy(has, tags) })
		},
		remove: func(keys []string) error {
			return change(func(has map[string]string) {
				maps.DeleteFunc(has, func(k, _ string) bool { return slices.Contains(keys, k) })
			})
		},
	}, nil
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
