package eventpattern

import (
	"bytes"
	"errors"
)

// wildcard is a string with stars, cut at the stars: what stands between them has to be there, in this order.
type wildcard struct {
	parts [][]byte // the first begins the string, the last ends it
}

// newWildcard reads a pattern in which * stands for any characters, \* for a star and \\ for a backslash.
func newWildcard(s string) (wildcard, error) {
	w := wildcard{parts: [][]byte{nil}}
	for i := 0; i < len(s); i++ {
		last := &w.parts[len(w.parts)-1]
		switch c := s[i]; c {
		case '*':
			if i > 0 && len(*last) == 0 && len(w.parts) > 1 {
				return wildcard{}, errors.New("two stars in a row")
			}
			w.parts = append(w.parts, nil)
		case '\\':
			if i++; i == len(s) || s[i] != '*' && s[i] != '\\' {
				return wildcard{}, errors.New(`a backslash before something else than * and \`)
			}
			*last = append(*last, s[i])
		default:
			*last = append(*last, c)
		}
	}
	return w, nil
}

// match takes each part at its first place: a later one would only leave less for the parts behind it.
func (w wildcard) match(s []byte) bool {
	first, last := w.parts[0], w.parts[len(w.parts)-1]
	if len(w.parts) == 1 {
		return bytes.Equal(s, first)
	}
	if len(s) < len(first)+len(last) || !bytes.HasPrefix(s, first) || !bytes.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range w.parts[1 : len(w.parts)-1] {
		i := bytes.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}
