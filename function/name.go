package function

import (
	"errors"
	"regexp"
	"strings"
)

// The patterns that the service prints in its validation messages, and which we match. Source: recorded answers of the service.
const (
	ReadNamePattern  = `(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`
	WriteNamePattern = `(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?`
	QualifierPattern = `\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+`
)

var (
	readName  = regexp.MustCompile(`^(?:` + ReadNamePattern + `)$`)
	writeName = regexp.MustCompile(`^(?:` + WriteNamePattern + `)$`)
)

// ErrBadName is the fact that a text matches none of the forms of a function name.
var ErrBadName = errors.New("not a function name, partial ARN or ARN")

// Key names one function.
type Key struct{ Account, Region, Name string }

// Reference is a function name as a caller may write it, taken apart. Members that were not written are empty.
type Reference struct {
	Partition string // aws; "" unless a full ARN was written
	Region    string
	Account   string
	Name      string
	Qualifier Qualifier
}

// ParseRead takes apart the FunctionName of an operation that reads, deletes or invokes: a bare name, function:NAME,
// ACCOUNT:function:NAME or a full ARN, each optionally followed by :QUALIFIER. The error is ErrBadName.
func ParseRead(s string) (Reference, error) { return parse(s, readName, true) }

// ParseWrite is ParseRead for operations that create or change, whose names cannot hold dots.
func ParseWrite(s string) (Reference, error) { return parse(s, writeName, false) }

func parse(s string, re *regexp.Regexp, dots bool) (Reference, error) {
	if plainName(s, dots) { // the invoke path: no expression needed
		return Reference{Name: s}, nil
	}
	m := re.FindStringSubmatchIndex(s)
	if m == nil {
		return Reference{}, ErrBadName
	}
	group := func(i int) string {
		if m[2*i] < 0 {
			return ""
		}
		return s[m[2*i]:m[2*i+1]]
	}
	return Reference{
		Partition: group(2),
		Region:    strings.TrimSuffix(group(3), ":"),
		Account:   strings.TrimSuffix(group(9), ":"),
		Name:      group(11),
		Qualifier: Qualifier(group(13)),
	}, nil
}

func plainName(s string, dots bool) bool {
	for i := range len(s) {
		if !nameByte(s[i]) && (!dots || s[i] != '.') {
			return false
		}
	}
	return s != ""
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
