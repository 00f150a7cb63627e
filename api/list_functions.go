package api

import (
	"iter"
	"net/http"
	"strconv"
	"strings"

	"thaw/function"
)

// listItem is a version of a function in a list.
type listItem struct {
	e *function.Entry
	v *function.VersionRecord
}

func (l listItem) key() string { return l.e.Record.Name + ":" + string(l.v.Number) }

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
	p, err := c.readPage(&v, "functions/"+c.region+"/"+strconv.FormatBool(all))
	if err != nil {
		return err
	}
	var out struct {
		Functions  []*functionConfiguration
		NextMarker string `json:",omitempty"`
	}
	out.Functions, out.NextMarker = cut(p, c.functionsAfter(p.after, all), listItem.key, func(l listItem) *functionConfiguration {
		arn := l.e.Record.ARN()
		if all {
			arn = arn.Version(l.v.Number)
		}
		return c.s.short(l.e, l.v, arn)
	})
	return c.json(http.StatusOK, out)
}

// functionsAfter are the functions of the region in the order of names, with all their versions if wanted, after NAME:VERSION.
func (c *call) functionsAfter(after string, all bool) iter.Seq[listItem] {
	name, version, _ := strings.Cut(after, ":")
	number := function.VersionNumber(version).Int() // $LATEST comes before every number
	return func(yield func(listItem) bool) {
		for _, e := range c.s.view.All() {
			if e.Record.Region != c.region || e.Record.Name < name {
				continue
			}
			if e.Record.Name > name && !yield(listItem{e, &e.Record.Latest}) {
				return
			}
			if !all {
				continue
			}
			for _, v := range e.Versions() {
				if (e.Record.Name > name || v.Number.Int() > number) && !yield(listItem{e, v}) {
					return
				}
			}
		}
	}
}
