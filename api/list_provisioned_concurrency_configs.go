package api

import (
	"net/http"

	"thaw/function"
)

// ListProvisionedConcurrencyConfigs: GET /2019-09-30/functions/{FunctionName}/provisioned-concurrency?List=ALL&Marker=&MaxItems= -> 200. Supported:
// ascending by version.
func (c *call) listProvisionedConcurrencyConfigs() error {
	var v violations
	ref, _ := c.checkTarget(&v, readNames, c.label)
	list := "provisioned/" + c.region + "/" + ref.Name
	size, after, err := c.page(&v, list)
	if bad := v.err(); bad != nil {
		return bad
	}
	if err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return notFound(t.arn())
	}
	out := struct {
		ProvisionedConcurrencyConfigs []provisionedConcurrency
		NextMarker                    string `json:",omitempty"`
	}{ProvisionedConcurrencyConfigs: []provisionedConcurrency{}}
	last := ""
	for _, version := range e.Versions() {
		n := version.Number.Int()
		p, ok := e.Record.Provisioned[function.Qualifier(version.Number)]
		serving := e.Serving(version.Number)
		if !ok || serving == nil || after != "" && n <= function.VersionNumber(after).Int() {
			continue
		}
		if len(out.ProvisionedConcurrencyConfigs) == size {
			out.NextMarker = newMarker(list, last)
			break
		}
		one := allocation(p, c.s.Pool.Provisioned(serving))
		one.FunctionArn = e.Record.ARN().Version(version.Number)
		out.ProvisionedConcurrencyConfigs = append(out.ProvisionedConcurrencyConfigs, one)
		last = string(version.Number)
	}
	return c.json(http.StatusOK, out)
}
