package logsapi

import (
	"encoding/base64"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// groupOf is the group that an identifier names: a name, or an ARN with or without ":*" at its end. An ARN of another
// account or region names a group that is not there.
func (c *call) groupOf(id string) (string, error) {
	if !strings.HasPrefix(id, "arn:") {
		return id, nil
	}
	p := strings.SplitN(id, ":", 7) // arn:aws:logs:region:account:log-group:name[:*]
	if len(p) != 7 || p[2] != "logs" || p[5] != "log-group" {
		return "", invalidParameter("Invalid arn: %s", id)
	}
	if p[3] != c.region || p[4] != c.s.o.AccountID {
		return "", errNoGroup
	}
	return strings.TrimSuffix(p[6], ":*"), nil
}

// named is the part of a request that names a group in one of two ways.
type named struct {
	LogGroupName       *string `json:"logGroupName"`
	LogGroupIdentifier *string `json:"logGroupIdentifier"`
}

func (n *named) check(v *violations) {
	v.Text("logGroupName", n.LogGroupName, groupName)
	v.Text("logGroupIdentifier", n.LogGroupIdentifier, identifier)
}

// group is the group's name, after check.
func (n *named) group(c *call) (string, error) {
	switch {
	case n.LogGroupName != nil && n.LogGroupIdentifier != nil:
		return "", fail("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters.")
	case n.LogGroupIdentifier != nil:
		return c.groupOf(*n.LogGroupIdentifier)
	case n.LogGroupName != nil:
		return *n.LogGroupName, nil
	}
	return "", fail("ValidationException", "Either LogGroup name or LogGroup ARN must be specified.")
}

// pageOf is the part of a sorted list behind a token, with the next token: "" on the last page. Tokens hold the last
// item's key, so that what is deleted between two pages moves nothing (statement C-138 for markers).
func pageOf[T any](list []T, key func(T) string, token *string, limit int64) (page []T, next string, err error) {
	if token != nil {
		last, err := readToken(*token)
		if err != nil {
			return nil, "", err
		}
		list = list[sort.Search(len(list), func(i int) bool { return key(list[i]) > last }):]
	}
	if int64(len(list)) > limit {
		list = list[:limit]
		next = newToken(key(list[limit-1]))
	}
	return list, next, nil
}

const tokenMark = "thaw1:"

func newToken(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + s)) }

func readToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	s, ok := strings.CutPrefix(string(b), tokenMark)
	if err != nil || !ok {
		return "", errBadToken
	}
	return s, nil
}

func quoteNumber(n int64) string { return fmt.Sprintf("'%d'", n) }

func joinNumbers(list []int64) string {
	var texts []string
	for _, n := range list {
		texts = append(texts, strconv.FormatInt(n, 10))
	}
	return strings.Join(texts, ", ")
}
