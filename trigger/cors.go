package trigger

import (
	"slices"
	"strconv"
	"strings"
)

// CORS says which web pages may call a URL and read its answers. An entry * stands for all.
type CORS struct {
	Credentials                              bool
	Origins, Methods, Headers, ExposeHeaders []string
	MaxAge                                   int // seconds
}

// Answer are the headers of the answer to a request of a page of origin; nil when the page may not read it.
func (c *CORS) Answer(origin string) map[string]string {
	all := slices.Contains(c.Origins, "*")
	if origin == "" || !all && !slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return nil
	}
	h := map[string]string{"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
	switch {
	case c.Credentials: // a browser takes no * then
		h["Access-Control-Allow-Credentials"] = "true"
	case all:
		h = map[string]string{"Access-Control-Allow-Origin": "*"}
	}
	if len(c.ExposeHeaders) > 0 {
		h["Access-Control-Expose-Headers"] = strings.Join(c.ExposeHeaders, ",")
	}
	return h
}

// Preflight are the headers of the answer to the question whether a page of origin may send a request with a method and
// headers.
func (c *CORS) Preflight(origin, method, headers string) map[string]string {
	h := c.Answer(origin)
	if h == nil {
		return nil
	}
	delete(h, "Access-Control-Expose-Headers")
	if m := c.offered(c.Methods, method); m != "" {
		h["Access-Control-Allow-Methods"] = m
	}
	if n := c.offered(c.Headers, headers); n != "" {
		h["Access-Control-Allow-Headers"] = n
	}
	if c.MaxAge > 0 {
		h["Access-Control-Max-Age"] = strconv.Itoa(c.MaxAge)
	}
	return h
}

// offered is a list as it is told; * with credentials becomes what was asked for, because a browser takes no * then.
func (c *CORS) offered(list []string, asked string) string {
	if c.Credentials && slices.Contains(list, "*") {
		return asked
	}
	return strings.Join(list, ",")
}
