package api

import (
	"net/http"

	"thaw/function"
)

// ListVersionsByFunction: GET /2015-03-31/functions/{FunctionName}/versions?Marker=&MaxItems= -> 200. Supported: $LATEST, then ascending.
func (c *call) listVersionsByFunction() error {
	var v violations
	ref, _ := c.checkTarget(&v, readNames, c.label)
	list := "versions/" + c.region + "/" + ref.Name
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
	items := append([]*function.VersionRecord{&e.Record.Latest}, e.Versions()...)
	if after != "" {
		n := function.VersionNumber(after).Int() // 0: after $LATEST
		i := 0
		for i < len(items) && items[i].Number.Int() <= n {
			i++
		}
		items = items[i:]
	}
	out := struct {
		Versions   []*functionConfiguration
		NextMarker string `json:",omitempty"`
	}{Versions: []*functionConfiguration{}}
	for i, it := range items {
		if i == size {
			out.NextMarker = newMarker(list, string(items[i-1].Number))
			break
		}
		out.Versions = append(out.Versions, c.s.optimize(e, it, listed(e.Record, it, e.Record.ARN().Version(it.Number))))
	}
	return c.json(http.StatusOK, out)
}
