package api

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The canonical request of Signature Version 4: what is signed of path, query and headers.

// rawPath is the path as it was sent.
func rawPath(r *http.Request) string {
	p := r.RequestURI
	if i := strings.IndexByte(p, '?'); i >= 0 {
		p = p[:i]
	}
	if !strings.HasPrefix(p, "/") { // absolute form, by way of a proxy
		p = r.URL.EscapedPath()
	}
	return p
}

// canonicalURI encodes a path, which is encoded already, once more. With normal, empty and dot segments are removed before.
func canonicalURI(path string, normal bool) string {
	if normal && (strings.Contains(path, "//") || strings.Contains(path, "/.")) {
		var out []string
		for s := range strings.SplitSeq(path, "/") {
			switch s {
			case "", ".":
			case "..":
				if len(out) > 0 {
					out = out[:len(out)-1]
				}
			default:
				out = append(out, s)
			}
		}
		slash := strings.HasSuffix(path, "/") && len(out) > 0
		path = "/" + strings.Join(out, "/")
		if slash {
			path += "/"
		}
	}
	if path == "" {
		return "/"
	}
	return escape(path, true)
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes everything but the unreserved characters, and slashes if they may stay.
func escape(s string, slashes bool) string {
	plain := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' || slashes && c == '/'
	}
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	b = append(b, s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// canonicalQuery decodes, encodes and sorts the parameters. The signature itself is no part of what is signed.
func canonicalQuery(raw string, presigned, dropToken bool) string {
	if raw == "" {
		return ""
	}
	type pair struct{ k, v string }
	var pairs []pair
	for kv := range strings.SplitSeq(raw, "&") {
		if kv == "" {
			continue
		}
		k, val, _ := strings.Cut(kv, "=")
		k, val = reescape(k), reescape(val)
		if presigned && (k == "X-Amz-Signature" || dropToken && k == "X-Amz-Security-Token") {
			continue
		}
		pairs = append(pairs, pair{k, val})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.k, b.k); c != 0 {
			return c
		}
		return strings.Compare(a.v, b.v)
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.k)
		b.WriteByte('=')
		b.WriteString(p.v)
	}
	return b.String()
}

func reescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		s = u
	}
	return escape(s, false)
}

func canonicalHeaders(b *bytes.Buffer, r *http.Request, signed string) {
	for name := range strings.SplitSeq(signed, ";") {
		b.WriteString(name)
		b.WriteByte(':')
		switch name {
		case "host":
			b.WriteString(r.Host)
		case "content-length":
			if r.ContentLength >= 0 {
				b.WriteString(strconv.FormatInt(r.ContentLength, 10))
			}
		case "transfer-encoding":
			b.WriteString(strings.Join(r.TransferEncoding, ","))
		default:
			for i, value := range r.Header.Values(name) {
				if i > 0 {
					b.WriteByte(',')
				}
				collapse(b, value)
			}
		}
		b.WriteByte('\n')
	}
}

// collapse writes a header value without spaces around it and with single ones inside.
func collapse(b *bytes.Buffer, s string) {
	s = strings.Trim(s, " \t")
	if !strings.Contains(s, "  ") {
		b.WriteString(s)
		return
	}
	space := false
	for i := range len(s) {
		if s[i] == ' ' {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteByte(s[i])
	}
}
