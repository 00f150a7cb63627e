package api

import (
	"net/http"
	"strconv"

	"thaw/function"
)

// ListFunctions: GET /2015-03-31/functions?FunctionVersion=&Marker=&MaxItems=&MasterRegion= -> 200. Supported.
//
// Differs: MasterRegion, of Lambda@Edge, has no effect but its check.
func (c *call) listFunctions() error {
	var v violations
	var all bool
	if s, ok := c.query("FunctionVersion"); ok {
		v.oneOf("functionVersion", &s, "ALL")
		all = true
	}
	list := "functions/" + c.region + "/" + strconv.FormatBool(all)
	size, after, err := c.page(&v, list)
	if bad := v.err(); bad != nil {
		return bad
	}
	if err != nil {
		return err
	}
	type item struct {
		e *function.Entry
		v *function.VersionRecord
	}
	var items []item
	afterName, afterNumber := splitAfter(after)
	for _, e := range c.s.view.All() { // in the order of names
		if e.Record.Region != c.region || e.Record.Name < afterName {
			continue
		}
		if e.Record.Name > afterName {
			items = append(items, item{e, &e.Record.Latest})
		}
		if all {
			for _, v := range e.Versions() {
				if e.Record.Name > afterName || v.Number.Int() > afterNumber {
					items = append(items, item{e, v})
				}
			}
		}
		if len(items) > size {
			break
		}
	}
	out := struct {
		Functions  []*functionConfiguration
		NextMarker string `json:",omitempty"`
	}{Functions: []*functionConfiguration{}}
	for i, it := range items {
		if i == size {
			last := items[i-1]
			out.NextMarker = newMarker(list, last.e.Record.Name+":"+string(last.v.Number))
			break
		}
		arn := it.e.Record.ARN()
		if all {
			arn = arn.Version(it.v.Number)
		}
		out.Functions = append(out.Functions, c.s.optimize(it.e, it.v, listed(it.e.Record, it.v, arn)))
	}
	return c.json(http.StatusOK, out)
}

// splitAfter takes NAME:VERSION apart; $LATEST comes before every number.
func splitAfter(s string) (name string, number int) {
	for i := range len(s) {
		if s[i] == ':' {
			return s[:i], function.VersionNumber(s[i+1:]).Int()
		}
	}
	return s, 0
}
