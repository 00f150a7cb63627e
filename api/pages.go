package api

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// maxPage is the most that a page holds, whatever MaxItems says.
const maxPage = 50

// marker is where a list goes on: after the item with this key, there or not any more. It is opaque to clients.
type marker struct {
	List  string // what is listed and how: a marker of one list is none of another
	After string
}

// page reads MaxItems and Marker. list names what is listed. after is empty for the first page.
func (c *call) page(v *violations, list string) (size int, after string, err error) {
	size = maxPage
	if s, ok := c.query("MaxItems"); ok {
		n, bad := strconv.Atoi(s)
		if bad != nil {
			return 0, "", fail("SerializationException", "%q can not be converted to an Integer", s)
		}
		v.number("maxItems", &n, 1, 10000)
		size = min(max(n, 1), maxPage)
	}
	if s, ok := c.query("Marker"); ok && s != "" {
		var m marker
		b, bad := base64.RawURLEncoding.DecodeString(s)
		if bad != nil || json.Unmarshal(b, &m) != nil || m.List != list || m.After == "" {
			return 0, "", invalidParameter("The Marker is invalid.")
		}
		after = m.After
	}
	return size, after, nil
}

func newMarker(list, after string) string {
	b, _ := json.Marshal(marker{list, after}) //nolint:errcheck // two strings
	return base64.RawURLEncoding.EncodeToString(b)
}
