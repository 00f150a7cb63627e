package gatewayapi

import (
	"maps"
	"strings"

	"thaw/gateway"
)

// getTags, tagResource and untagResource are of both services; the ARN says whose the tags are.
func (c *call) getTags() (any, error) {
	tags := map[string]string{}
	err := c.tagged(func(old map[string]string) (map[string]string, error) {
		maps.Copy(tags, old)
		return old, errUnchanged
	})
	if err == errUnchanged { //nolint:errorlint // it is handed through as it is
		err = nil
	}
	return map[string]any{"tags": tags}, err
}

var errUnchanged = badRequest("nothing to change")

func (c *call) tagResource() (any, error) {
	var in struct{ Tags map[string]string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	return struct{}{}, c.tagged(func(old map[string]string) (map[string]string, error) {
		made := maps.Clone(old)
		for k, v := range in.Tags {
			if k == "" || len(k) > 128 || len(v) > 256 || strings.HasPrefix(k, "aws:") {
				return nil, badRequest("Invalid tag %q: a key has 1 to 128 characters and does not begin with aws:, a value has at most 256", k)
			}
			put(&made, k, v)
		}
		if len(made) > 50 {
			return nil, badRequest("A resource has at most 50 tags")
		}
		return made, nil
	})
}

func (c *call) untagResource() (any, error) {
	return nil, c.tagged(func(old map[string]string) (map[string]string, error) {
		made := maps.Clone(old)
		for _, k := range c.query["tagKeys"] {
			delete(made, k)
		}
		return made, nil
	})
}

// tagged changes the tags of what an ARN names: arn:aws:apigateway:REGION::/apis/ID, /restapis/ID/stages/NAME, ...
func (c *call) tagged(f func(map[string]string) (map[string]string, error)) error {
	arn := or(c.vars["resource-arn"], c.vars["resource_arn"])
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "apigateway" || !strings.HasPrefix(parts[5], "/") {
		return badRequest("Invalid resource ARN: %s; it is arn:aws:apigateway:REGION::/restapis/ID or the like", arn)
	}
	path := strings.Split(strings.TrimPrefix(strings.TrimPrefix(parts[5], "/v2"), "/"), "/")
	id := ""
	if len(path) > 1 {
		id = path[1]
	}
	switch {
	case path[0] == "apis" || path[0] == "restapis":
		return c.tagAPI(id, path[2:], f)
	case path[0] == "apikeys":
		return c.tagShared("key/"+id, f)
	case path[0] == "usageplans":
		return c.tagShared("plan/"+id, f)
	case path[0] == "domainnames":
		return c.tagShared(domainKey+id, f)
	}
	return notFound("Invalid resource ARN specified: %s has no tags here", arn)
}

func (c *call) tagAPI(id string, rest []string, f func(map[string]string) (map[string]string, error)) error {
	return c.apis().APIs.Change(c.ctx(), id, func(old *gateway.API) (*gateway.API, error) {
		if !c.ours(old) {
			return nil, noSuch("API", id)
		}
		a, _, err := copyOf(old)
		if err != nil {
			return nil, err
		}
		if len(rest) < 2 || rest[0] != "stages" {
			a.Tags, err = f(a.Tags)
			return a, err
		}
		st := a.Stages[rest[1]]
		if st == nil {
			return nil, errNoStage
		}
		st.Tags, err = f(st.Tags)
		return a, err
	})
}

func (c *call) tagShared(key string, f func(map[string]string) (map[string]string, error)) error {
	return c.apis().Shared.Change(c.ctx(), key, func(old *gateway.Account) (_ *gateway.Account, err error) {
		if old == nil {
			return nil, notFound("Invalid resource ARN specified")
		}
		made := new(gateway.Account)
		kept(keep(old), made)
		switch {
		case made.Key != nil:
			made.Key.Tags, err = f(made.Key.Tags)
		case made.Plan != nil:
			made.Plan.Tags, err = f(made.Plan.Tags)
		case made.Domain != nil:
			made.Domain.Tags, err = f(made.Domain.Tags)
		}
		return made, err
	})
}
