package gatewayapi

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// page is a part of a list in the order of its keys, and where the next one begins; empty: nowhere. A position is the last
// key of the page before it, so that a list may change between two pages.
func page[T any](c *call, all map[string]T) (list []T, next string, err error) {
	size, position, usual, most := "limit", "position", 25, 500
	if c.version2() {
		size, position, usual, most = "maxResults", "nextToken", 100, 1000
	}
	n := usual
	if text := c.query.Get(size); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			return nil, "", badRequest("Invalid value for %s: %s", size, text)
		}
		n = min(n, most)
	}
	after := ""
	if text := c.query.Get(position); text != "" {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil, "", badRequest("Invalid position parameter")
		}
		after = string(b)
	}
	keys := slices.Sorted(maps.Keys(all))
	from, found := slices.BinarySearch(keys, after)
	if found {
		from++
	}
	list = []T{}
	for _, k := range keys[from:] {
		if len(list) == n {
			return list, base64.RawURLEncoding.EncodeToString([]byte(keys[from+n-1])), nil
		}
		list = append(list, all[k])
	}
	return list, "", nil
}

// items is a list as apigatewayv2 answers it, and embedded as apigateway does: to those who ask for application/json.
type items[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"nextToken,omitempty"`
}

type embedded[T any] struct {
	Position string `json:"position,omitempty"`
	Item     []T    `json:"item"`
}

// listed is a page of views of records.
func listed[R, V any](c *call, all map[string]R, view func(R) V) (any, error) {
	list, next, err := page(c, all)
	if err != nil {
		return nil, err
	}
	views := make([]V, len(list))
	for i, r := range list {
		views[i] = view(r)
	}
	if c.version2() {
		return items[V]{views, next}, nil
	}
	return embedded[V]{next, views}, nil
}

// or is a text, or another where it is empty.
func or(text, absent string) string {
	if text == "" {
		return absent
	}
	return text
}

// known says whether a text is one of those in a list: A|B|C.
func known(text, list string) bool { return slices.Contains(strings.Split(list, "|"), text) }
