package shape

import (
	"encoding/base64"
	"errors"
	"sort"
	"strings"
)

// ErrToken says that a token was not made by Page.
var ErrToken = errors.New("the token is not valid")

const tokenMark = "thaw1:"

// Page is the part of a list, sorted by its keys, behind a token, with the next token: nil on the last page. Tokens hold the
// last item's key, so that what is deleted between two pages moves nothing.
func Page[T any](list []T, key func(T) string, token *string, limit int) (page []T, next *string, err error) {
	if token != nil {
		b, err := base64.RawURLEncoding.DecodeString(*token)
		last, ok := strings.CutPrefix(string(b), tokenMark)
		if err != nil || !ok {
			return nil, nil, ErrToken
		}
		list = list[sort.Search(len(list), func(i int) bool { return key(list[i]) > last }):]
	}
	if len(list) > limit {
		list = list[:limit]
		t := base64.RawURLEncoding.EncodeToString([]byte(tokenMark + key(list[limit-1])))
		next = &t
	}
	return list, next, nil
}
