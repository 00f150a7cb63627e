package api

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"thaw/function"
)

// violations collects what the framework of the service checks before the operation sees a request: all of a request are reported
// together. Members are named as the service prints them, in camel case with dots.
type violations []string

func (v *violations) add(value, member, rule string) {
	*v = append(*v, "Value "+value+" at '"+member+"' failed to satisfy constraint: "+rule)
}

func quoted(s string) string { return "'" + s + "'" }

// err returns the ValidationException of everything collected, nil when there is nothing.
func (v violations) err() error {
	switch len(v) {
	case 0:
		return nil
	case 1:
		return fail("ValidationException", "1 validation error detected: %s", v[0])
	}
	return fail("ValidationException", "%d validation errors detected: %s", len(v), strings.Join(v, "; "))
}

func patternRule(p string) string { return "Member must satisfy regular expression pattern: " + p }

func (v *violations) notNull(member string, missing bool) {
	if missing {
		v.add("null", member, "Member must not be null")
	}
}

// text checks an optional string. Lengths are in characters; a negative limit is none.
func (v *violations) text(member string, s *string, minLen, maxLen int, re *regexp.Regexp, pattern string) {
	if s == nil {
		return
	}
	if n := utf8.RuneCountInString(*s); maxLen >= 0 && n > maxLen {
		v.add(quoted(*s), member, fmt.Sprintf("Member must have length less than or equal to %d", maxLen))
	} else if n < minLen {
		v.add(quoted(*s), member, fmt.Sprintf("Member must have length greater than or equal to %d", minLen))
	}
	if re != nil && !re.MatchString(*s) {
		v.add(quoted(*s), member, patternRule(pattern))
	}
}

func (v *violations) number(member string, n *int, low, high int) {
	switch {
	case n == nil:
	case *n < low:
		v.add(quoted(fmt.Sprint(*n)), member, fmt.Sprintf("Member must have value greater than or equal to %d", low))
	case high > 0 && *n > high:
		v.add(quoted(fmt.Sprint(*n)), member, fmt.Sprintf("Member must have value less than or equal to %d", high))
	}
}

func (v *violations) oneOf(member string, s *string, allowed ...string) {
	if s == nil {
		return
	}
	for _, a := range allowed {
		if *s == a {
			return
		}
	}
	v.add(quoted(*s), member, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
}

func (v *violations) listSize(member string, list []string, high int) {
	if len(list) > high {
		v.add(quoted("["+strings.Join(list, ", ")+"]"), member, fmt.Sprintf("Member must have length less than or equal to %d", high))
	}
}

// Patterns of the model, as the service prints them.
const (
	rolePattern     = `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
	handlerPattern  = `[^\s]+`
	anyARNPattern   = `(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()`
	logGroupPattern = `[\.\-_/#A-Za-z0-9]+`
	varNamePattern  = `[a-zA-Z]([a-zA-Z0-9_])+`
	subnetPattern   = `subnet-[0-9a-z]*`
	groupPattern    = `sg-[0-9a-zA-Z]*`
	tagARNPattern   = `arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)`
)

func whole(p string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + p + `)$`) }

var (
	roleRE     = whole(rolePattern)
	handlerRE  = whole(handlerPattern)
	anyARNRE   = whole(anyARNPattern)
	logGroupRE = whole(logGroupPattern)
	varNameRE  = whole(varNamePattern)
	subnetRE   = whole(subnetPattern)
	groupRE    = whole(groupPattern)
	tagARNRE   = whole(tagARNPattern)
)

// target is the function of a request, and which version of it the caller named.
type target struct {
	key       function.Key
	partition string
	qualifier function.Qualifier // as the caller wrote it; empty when he did not
}

func (t *target) arn() function.ARN { return t.key.ARN(t.partition) }

// qualified is the ARN as the caller named it, $LATEST when he named no version.
func (t *target) qualified() function.ARN {
	if t.qualifier == "" {
		return t.arn().Version(function.Latest)
	}
	return t.asNamed()
}

// asNamed is the ARN with the qualifier that the caller wrote, if he wrote one.
func (t *target) asNamed() function.ARN { return t.arn().Qualified(t.qualifier) }

// names is how an operation reads a function's name.
type names uint8

const (
	readNames  names = iota // get, list, delete, invoke
	writeNames              // create, update, publish
	urlNames                // readNames whose qualifier, if there is one, is an alias
)

// urlQualifierPattern has a negative lookahead, which Go's expressions lack.
const urlQualifierPattern = `((?!^\d+$)^[0-9a-zA-Z-_]+$)`

// checkTarget checks name and qualifier by the framework's rules and takes them apart. Violations come into v, the qualifier's first, as
// recorded. What is found wrong later, about regions and accounts, is for resolve.
func (c *call) checkTarget(v *violations, n names, name string) (function.Reference, function.Qualifier) {
	qualifier, given := c.query("Qualifier")
	if given {
		if len(qualifier) > 128 {
			v.add(quoted(qualifier), "qualifier", "Member must have length less than or equal to 128")
		} else if len(qualifier) < 1 {
			v.add(quoted(qualifier), "qualifier", "Member must have length greater than or equal to 1")
		}
		if n == urlNames && len(qualifier) > 0 {
			v.aliasQualifier(qualifier)
		} else if len(qualifier) > 0 && !function.Qualifier(qualifier).Valid() {
			v.add(quoted(qualifier), "qualifier", patternRule(function.QualifierPattern))
		}
	}
	parse, limit, pattern := function.ParseRead, 256, function.ReadNamePattern
	if n == writeNames {
		parse, limit, pattern = function.ParseWrite, 140, function.WriteNamePattern
	}
	if len(name) > limit {
		v.add(quoted(name), "functionName", fmt.Sprintf("Member must have length less than or equal to %d", limit))
	} else if name == "" {
		v.add("''", "functionName", "Member must have length greater than or equal to 1")
	}
	ref, err := parse(name)
	if err != nil {
		v.add(quoted(name), "functionName", patternRule(pattern))
	}
	if n == urlNames && ref.Qualifier != "" && !given {
		v.aliasQualifier(string(ref.Qualifier))
	}
	return ref, function.Qualifier(qualifier)
}

func (v *violations) aliasQualifier(q string) {
	if function.Qualifier(q).Kind() != function.QualifierAlias {
		v.add(quoted(q), "qualifier", patternRule(urlQualifierPattern))
	}
}

// resolve turns a checked reference into a function of this server.
func (c *call) resolve(ref function.Reference, qualifier function.Qualifier) (target, error) {
	t := target{key: function.Key{Account: c.s.AccountID, Region: c.region, Name: ref.Name}, partition: "aws", qualifier: qualifier}
	if ref.Partition != "" {
		t.partition = ref.Partition
	} else {
		t.partition = partitionOf(c.region)
	}
	if ref.Region != "" && ref.Region != c.region {
		return t, fail("ResourceNotFoundException", "Functions from '%s' are not reachable in this region ('%s')", ref.Region, c.region)
	}
	if ref.Account != "" && ref.Account != c.s.AccountID {
		return t, &Error{Code: "AccessDeniedException", Null: true}
	}
	if ref.Qualifier != "" {
		if qualifier != "" && qualifier != ref.Qualifier {
			return t, invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
		}
		t.qualifier = ref.Qualifier
	}
	return t, nil
}

func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	case strings.HasPrefix(region, "eusc-"):
		return "aws-eusc"
	}
	return "aws"
}
