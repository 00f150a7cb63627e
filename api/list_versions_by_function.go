package api

import (
	"net/http"

	"thaw/function"
)

// ListVersionsByFunction: GET /2015-03-31/functions/{FunctionName}/versions?Marker=&MaxItems= -> 200. Supported: $LATEST, then ascending.
func (c *call) listVersionsByFunction() error {
	p, e, err := c.readList("versions")
	if err != nil {
		return err
	}
	after := function.VersionNumber(p.after).Int()
	items := func(yield func(*function.VersionRecord) bool) {
		if p.after == "" && !yield(&e.Record.Latest) {
			return
		}
		for _, v := range e.Versions() {
			if v.Number.Int() > after && !yield(v) {
				return
			}
		}
	}
	var out struct {
		Versions   []*functionConfiguration
		NextMarker string `json:",omitempty"`
	}
	out.Versions, out.NextMarker = cut(p, items, func(v *function.VersionRecord) string { return string(v.Number) },
		func(v *function.VersionRecord) *functionConfiguration {
			return c.s.short(e, v, e.Record.ARN().Version(v.Number))
		})
	return c.json(http.StatusOK, out)
}
