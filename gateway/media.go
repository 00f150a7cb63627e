package gateway

import "strings"

// mediaTypes are the types that a REST API takes for binary data.
type mediaTypes struct {
	all  bool
	list []string
}

func newMediaTypes(list []string) mediaTypes {
	m := mediaTypes{}
	for _, t := range list {
		t = strings.ToLower(strings.ReplaceAll(t, "~1", "/"))
		if t == "*/*" {
			m.all = true
		}
		m.list = append(m.list, t)
	}
	return m
}

// has says whether a content type, with its parameters or without, is one of them.
func (m mediaTypes) has(contentType string) bool {
	if m.all {
		return true
	}
	t := mediaType(contentType)
	if t == "" {
		return false
	}
	for _, have := range m.list {
		if have == t {
			return true
		}
		if kind, ok := strings.CutSuffix(have, "/*"); ok && strings.HasPrefix(t, kind+"/") {
			return true
		}
	}
	return false
}

// mediaType is a content type without its parameters.
func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// accepted is the first type of an Accept header: AWS looks at no other.
func accepted(accept string) string {
	t, _, _ := strings.Cut(accept, ",")
	return mediaType(t)
}
