package function

import (
	"maps"
	"time"
)

// URL is an HTTP address of a function or of one of its aliases: FunctionUrlConfig. It is stored: members may be added,
// never renamed.
type URL struct {
	ID         string // 32 characters of a-z and 0-9, the same for life
	AuthType   string // URLOpen, URLSigned
	InvokeMode string `json:",omitempty"` // URLBuffered, URLStream; empty: never said, which is URLBuffered
	CORS       *CORS  `json:",omitempty"` // nil: the function answers for itself
	Created    time.Time
	Modified   time.Time
}

// The values of AuthType and InvokeMode.
const (
	URLOpen     = "NONE"
	URLSigned   = "AWS_IAM"
	URLBuffered = "BUFFERED"
	URLStream   = "RESPONSE_STREAM"
)

// CORS says which web pages may call a URL and read its answers. A nil member was not said.
type CORS struct {
	AllowCredentials *bool    `json:",omitempty"`
	AllowHeaders     []string `json:",omitempty"`
	AllowMethods     []string `json:",omitempty"`
	AllowOrigins     []string `json:",omitempty"`
	ExposeHeaders    []string `json:",omitempty"`
	MaxAge           *int     `json:",omitempty"` // seconds
}

// Empty says that nothing is set.
func (c *CORS) Empty() bool {
	return c.AllowCredentials == nil && c.MaxAge == nil && len(c.AllowHeaders)+len(c.AllowMethods)+len(c.AllowOrigins)+len(c.ExposeHeaders) == 0
}

// OfURL is what a URL leads to.
type OfURL struct {
	Key
	Qualifier Qualifier // empty, or an alias, there or not any more
}

// URL returns the function and qualifier that a URL leads to, by its ID.
func (v *View) URL(id string) (to OfURL, ok bool) {
	to, ok = v.snap.Load().urls[id]
	return to, ok
}

// moveURLs makes the index of URLs right for one function that was and now is; nil: it was not, or is not any more.
func (next *viewSnapshot) moveURLs(was, is *Record, inPlace bool) {
	if was == nil {
		was = &Record{}
	}
	if is == nil {
		is = &Record{}
	}
	if maps.EqualFunc(was.URLs, is.URLs, func(a, b URL) bool { return a.ID == b.ID }) {
		return
	}
	if !inPlace {
		next.urls = maps.Clone(next.urls)
	}
	for _, u := range was.URLs {
		delete(next.urls, u.ID)
	}
	for q, u := range is.URLs {
		next.urls[u.ID] = OfURL{is.Key, q}
	}
}
