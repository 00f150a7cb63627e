package controlplane

import (
	"context"
	"maps"
	"slices"
	"strings"

	"thaw/function"
	"thaw/snapshot"
)

// Tag gives a function tags, in the place of those of the same names.
func (p *Plane) Tag(ctx context.Context, k function.Key, add map[string]string) error {
	if len(add) == 0 {
		return invalid("An error occurred and the request cannot be processed.")
	}
	return p.changeTags(ctx, k, func(tags map[string]string) error {
		maps.Copy(tags, add)
		if err := CheckTagCount(len(tags)); err != nil {
			return err
		}
		return p.checkSnapshotTags(slices.Collect(maps.Keys(add)), tags)
	})
}

// Untag takes tags away. One that is not there is no error.
func (p *Plane) Untag(ctx context.Context, k function.Key, names []string) error {
	return p.changeTags(ctx, k, func(tags map[string]string) error {
		for _, name := range names {
			delete(tags, name)
		}
		return p.checkSnapshotTags(names, tags)
	})
}

// changeTags gives the function a new RevisionId, as the service does.
func (p *Plane) changeTags(ctx context.Context, k function.Key, f func(map[string]string) error) error {
	return p.exclusive(k, func() error {
		e, err := p.change(ctx, k, func(_ *function.Entry, r *function.Record) error {
			if r.Tags == nil {
				r.Tags = map[string]string{}
			}
			r.Latest.RevisionID = newRevisionID()
			return f(r.Tags)
		})
		if err == nil && p.Snapshots != nil {
			p.Snapshots.Retag(e.Record.ARN(), e.Record.Tags)
		}
		return err
	})
}

// CheckTagCount refuses more tags than a resource may have.
func CheckTagCount(n int) error {
	if n > function.MaxTags {
		return invalid("Number of tags exceeds resource tag limit.")
	}
	return nil
}

// checkSnapshotTags refuses tags from which no snapshot policy can be read, when those that a request changes are about it.
func (p *Plane) checkSnapshotTags(changed []string, tags map[string]string) error {
	about := func(k string) bool {
		return k == snapshot.TagRefresh || k == snapshot.TagPrime || strings.HasPrefix(k, snapshot.TagEvent)
	}
	if p.Snapshots == nil {
		return nil
	}
	if v, ok := tags[function.TagSnapStartLatest]; ok && slices.Contains(changed, function.TagSnapStartLatest) && v != "on" && v != "off" {
		return invalid("Tag %s: %q is neither on nor off", function.TagSnapStartLatest, v)
	}
	if !slices.ContainsFunc(changed, about) {
		return nil
	}
	if _, err := snapshot.ParseTags(tags); err != nil {
		return invalid("%s", upperFirst(err.Error()))
	}
	return nil
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
