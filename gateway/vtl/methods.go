package vtl

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// method calls a method of a text, a list, a map or a number: those of Java's that templates use.
func (r *run) method(v any, name string, args []any) (any, error) {
	var made any
	var known bool
	err := r.charge(cost(v, name, args))
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		made, known, err = textMethod(v, name, args)
	case *List:
		made, known = listMethod(v, name, args)
	case *Map:
		made, known = mapMethod(v, name, args)
	default:
		made, known = numberMethod(v, name)
	}
	switch {
	case err != nil:
		return nil, err
	case !known && name == "toString" && len(args) == 0:
		made = Text(v)
	case !known && name == "equals" && len(args) == 1:
		made = equal(v, args[0])
	case !known:
		return nil, fmt.Errorf("there is no method %s with %d arguments of %s", name, len(args), kind(v))
	}
	if s, is := made.(string); is {
		err = r.charge(len(s))
	}
	return made, err
}

// cost is what a method goes through, about in bytes.
func cost(v any, name string, args []any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
		for _, a := range args {
			n += weight(a)
		}
	case *List:
		if !strings.Contains(" size get add set isEmpty ", " "+name+" ") {
			n = 16 * len(v.Items)
		}
	case *Map:
		if !strings.Contains(" size get put isEmpty containsKey getOrDefault ", " "+name+" ") {
			n = 16 * v.Len()
		}
	}
	return n
}

// weight is how long a value is as text, where that is not short.
func weight(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case *List, *Map:
		return len(Text(v))
	}
	return 0
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case *List:
		return "a list"
	case *Map:
		return "a map"
	case bool:
		return "a boolean"
	}
	return "a number"
}

func numberMethod(v any, name string) (any, bool) {
	f, is := number(v)
	if !is {
		return nil, false
	}
	switch name {
	case "intValue", "longValue":
		if n, is := whole(v); is {
			return n, true
		}
		return int64(f), true
	case "doubleValue", "floatValue":
		return f, true
	}
	return nil, false
}

// textMethod counts characters, not bytes.
func textMethod(s, name string, args []any) (any, bool, error) {
	arg := func(i int) string {
		if i < len(args) {
			return Text(args[i])
		}
		return ""
	}
	switch fmt.Sprint(name, len(args)) {
	case "length0", "size0":
		return int64(utf8.RuneCountInString(s)), true, nil
	case "isEmpty0":
		return s == "", true, nil
	case "toString0":
		return s, true, nil
	case "trim0":
		return strings.TrimSpace(s), true, nil
	case "toLowerCase0":
		return strings.ToLower(s), true, nil
	case "toUpperCase0":
		return strings.ToUpper(s), true, nil
	case "contains1":
		return strings.Contains(s, arg(0)), true, nil
	case "startsWith1":
		return strings.HasPrefix(s, arg(0)), true, nil
	case "endsWith1":
		return strings.HasSuffix(s, arg(0)), true, nil
	case "equals1":
		return s == arg(0), true, nil
	case "equalsIgnoreCase1":
		return strings.EqualFold(s, arg(0)), true, nil
	case "compareTo1":
		return int64(strings.Compare(s, arg(0))), true, nil
	case "concat1":
		return s + arg(0), true, nil
	case "indexOf1":
		return characters(s, strings.Index(s, arg(0))), true, nil
	case "lastIndexOf1":
		return characters(s, strings.LastIndex(s, arg(0))), true, nil
	case "charAt1", "substring1", "substring2":
		return part(s, name, args)
	case "replace2":
		if grown := strings.Count(s, arg(0)) * len(arg(1)); grown > maxOutput {
			return nil, true, fmt.Errorf("%w: replace makes more than %d bytes", ErrBounds, maxOutput)
		}
		return strings.ReplaceAll(s, arg(0), arg(1)), true, nil
	case "replaceAll2", "replaceFirst2", "matches1", "split1", "split2":
		return expressionMethod(s, name, args)
	}
	return nil, false, nil
}

// characters is a place in bytes as one in characters; -1 stays.
func characters(s string, at int) int64 {
	if at < 0 {
		return -1
	}
	return int64(utf8.RuneCountInString(s[:at]))
}

func part(s, name string, args []any) (any, bool, error) {
	all := []rune(s)
	from, is := whole(args[0])
	to := int64(len(all))
	if name == "charAt" {
		to = from + 1
	}
	if len(args) == 2 {
		var also bool
		to, also = whole(args[1])
		is = is && also
	}
	if !is || from < 0 || to > int64(len(all)) || from > to {
		return nil, true, fmt.Errorf("%s of %d to %d of a text of %d characters", name, from, to, len(all))
	}
	return string(all[from:to]), true, nil
}

var groupRE = regexp.MustCompile(`\$(\d)`)

// expressionMethod is a method with a regular expression. Differs: it is one of RE2, without lookaround and references to groups.
func expressionMethod(s, name string, args []any) (any, bool, error) {
	re, err := regexp.Compile(Text(args[0]))
	if err != nil {
		return nil, true, fmt.Errorf("%s: %w", name, err)
	}
	switch name {
	case "matches":
		at := re.FindStringIndex(s)
		whole, _ := regexp.Compile("^(?:" + Text(args[0]) + ")$") //nolint:errcheck // it compiled above
		return at != nil && whole != nil && whole.MatchString(s), true, nil
	case "split":
		most := -1
		if len(args) == 2 {
			if n, is := whole(args[1]); is && n > 0 && n < 1<<20 {
				most = int(n)
			}
		}
		l := &List{}
		for _, p := range re.Split(s, most) {
			l.Items = append(l.Items, p)
		}
		for most < 0 && len(l.Items) > 1 && l.Items[len(l.Items)-1] == "" { // as Java does
			l.Items = l.Items[:len(l.Items)-1]
		}
		return l, true, nil
	}
	by := groupRE.ReplaceAllString(strings.ReplaceAll(Text(args[1]), `\$`, "$$"), "$${$1}")
	grown := len(s) + (len(s)+1)*(len(by)+1)
	if name == "replaceAll" && grown > maxOutput && len(re.FindAllStringIndex(s, -1))*(len(by)+len(s)) > maxOutput {
		return nil, true, fmt.Errorf("%w: replaceAll makes more than %d bytes", ErrBounds, maxOutput)
	}
	if name == "replaceAll" {
		return re.ReplaceAllString(s, by), true, nil
	}
	at := re.FindStringSubmatchIndex(s)
	if at == nil {
		return s, true, nil
	}
	return s[:at[0]] + string(re.ExpandString(nil, by, s, at)) + s[at[1]:], true, nil
}

func listMethod(l *List, name string, args []any) (any, bool) {
	switch name + strconv.Itoa(len(args)) {
	case "size0", "length0":
		return int64(len(l.Items)), true
	case "isEmpty0":
		return len(l.Items) == 0, true
	case "get1":
		return member(l, args[0]), true
	case "add1":
		l.Items = append(l.Items, args[0])
		return true, true
	case "addAll1":
		l.Items = append(l.Items, members(args[0])...)
		return true, true
	case "set2":
		i, is := index(args[0], len(l.Items))
		if !is {
			return nil, true
		}
		old := l.Items[i]
		l.Items[i] = args[1]
		return old, true
	case "remove1":
		i, is := index(args[0], len(l.Items))
		if !is {
			return nil, true
		}
		old := l.Items[i]
		l.Items = append(l.Items[:i:i], l.Items[i+1:]...)
		return old, true
	case "contains1":
		return position1(l, args[0]) >= 0, true
	case "indexOf1":
		return position1(l, args[0]), true
	case "clear0":
		l.Items = nil
		return nil, true
	}
	return nil, false
}

func position1(l *List, v any) int64 {
	for i, one := range l.Items {
		if equal(one, v) {
			return int64(i)
		}
	}
	return -1
}

func mapMethod(m *Map, name string, args []any) (any, bool) {
	switch name + strconv.Itoa(len(args)) {
	case "size0":
		return int64(m.Len()), true
	case "isEmpty0":
		return m.Len() == 0, true
	case "get1":
		v, _ := m.Get(Text(args[0]))
		return v, true
	case "getOrDefault2":
		if v, is := m.Get(Text(args[0])); is {
			return v, true
		}
		return args[1], true
	case "containsKey1":
		_, is := m.Get(Text(args[0]))
		return is, true
	case "containsValue1":
		return position1(&List{members(m)}, args[0]) >= 0, true
	case "put2":
		return m.Put(Text(args[0]), args[1]), true
	case "putAll1":
		if other, is := args[0].(*Map); is {
			for _, k := range other.Keys {
				m.Put(k, other.values[k])
			}
		}
		return nil, true
	case "remove1":
		return m.Remove(Text(args[0])), true
	case "keySet0":
		l := &List{}
		for _, k := range m.Keys {
			l.Items = append(l.Items, k)
		}
		return l, true
	case "values0":
		return &List{members(m)}, true
	case "entrySet0":
		l := &List{}
		for _, k := range m.Keys {
			l.Items = append(l.Items, &pair{k, m.values[k]})
		}
		return l, true
	}
	return nil, false
}

// pair is a member of a map that a loop goes through.
type pair struct {
	key   string
	value any
}

// Get implements Object.
func (p *pair) Get(name string) any {
	switch name {
	case "key":
		return p.key
	case "value":
		return p.value
	}
	return nil
}

// Call implements Object.
func (p *pair) Call(name string, _ []any) (any, bool, error) {
	switch name {
	case "getKey":
		return p.key, true, nil
	case "getValue":
		return p.value, true, nil
	}
	return nil, false, nil
}
