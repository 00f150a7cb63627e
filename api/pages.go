package api

import (
	"encoding/base64"
	"encoding/json"
	"iter"
	"strconv"

	"thaw/function"
)

// maxPage is the most that a page holds, whatever MaxItems says.
const maxPage = 50

// marker is where a list goes on: after the item with this key, there or not any more. It is opaque to clients.
type marker struct {
	List  string // what is listed and how: a marker of one list is none of another
	After string
}

// page is a part of a list that a request asks for.
type page struct {
	list  string // what is listed, and how
	size  int
	after string // key of the last item of the page before; empty: the first page
}

// readPage reads MaxItems and Marker, the last that a list checks of its request. What v holds by then goes before what is
// wrong with a marker.
func (c *call) readPage(v *violations, list string) (page, error) {
	return c.readPageOf(v, list, maxPage)
}

// readPageOf is readPage for a list whose pages hold another number of items at most.
func (c *call) readPageOf(v *violations, list string, most int) (page, error) {
	p, err := c.page(v, list, most)
	if bad := v.err(); bad != nil {
		return p, bad
	}
	return p, err
}

func (c *call) page(v *violations, list string, most int) (page, error) {
	p := page{list: list, size: most}
	if s, ok := c.query("MaxItems"); ok {
		n, bad := strconv.Atoi(s)
		if bad != nil {
			return p, fail("SerializationException", "%q can not be converted to an Integer", s)
		}
		v.number("maxItems", &n, 1, 10000)
		p.size = min(max(n, 1), most)
	}
	if s, ok := c.query("Marker"); ok && s != "" {
		var m marker
		b, bad := base64.RawURLEncoding.DecodeString(s)
		if bad != nil || json.Unmarshal(b, &m) != nil || m.List != list || m.After == "" {
			return p, invalidParameter("The Marker is invalid.")
		}
		p.after = m.After
	}
	return p, nil
}

// readList is how lists about one function begin.
func (c *call) readList(list string, also ...func(*violations)) (page, *function.Entry, error) {
	var v violations
	ref, _ := c.checkTarget(&v, readNames, c.label)
	for _, f := range also {
		f(&v)
	}
	p, err := c.readPage(&v, list+"/"+c.region+"/"+ref.Name)
	if err != nil {
		return p, nil, err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return p, nil, err
	}
	e, err := c.entry(t)
	return p, e, err
}

// cut is the page of a list: the first items, made ready to show, and the marker of the next page where there are more.
// items begins behind the marker of the request.
func cut[T, W any](p page, items iter.Seq[T], key func(T) string, show func(T) W) (shown []W, next string) {
	shown = []W{}
	last := ""
	for item := range items {
		if len(shown) == p.size {
			b, _ := json.Marshal(marker{p.list, last}) //nolint:errcheck // two strings
			return shown, base64.RawURLEncoding.EncodeToString(b)
		}
		shown, last = append(shown, show(item)), key(item)
	}
	return shown, ""
}
