package sns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"thaw/eventpattern"
)

// Filter policies are event patterns with operators of their own choice: those below, in this form. What is wrong is said
// in the service's words. Source: SNS Developer Guide, "Filter policy constraints" and "Attribute value matching".

// Scopes of a filter policy.
const (
	byAttributes = "MessageAttributes"
	byBody       = "MessageBody"
)

// Limits of a filter policy.
const (
	maxKeys         = 5
	maxCombinations = 150
	maxPolicyBytes  = 256 << 10
)

// filter is a compiled policy; nil lets everything pass, one without a pattern nothing.
type filter struct {
	pattern *eventpattern.Pattern
	scope   string
}

// newFilter compiles a policy; empty or {}: none.
func newFilter(policy, scope string) (*filter, error) {
	if scope == "" {
		scope = byAttributes
	}
	if strings.TrimSpace(policy) == "" {
		return nil, nil //nolint:nilnil // no filter
	}
	var tree map[string]any
	d := json.NewDecoder(strings.NewReader(policy))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil || d.More() {
		return nil, fmt.Errorf("FilterPolicy: failed to parse JSON. %w", errOrMore(err))
	}
	if len(tree) == 0 {
		return nil, nil //nolint:nilnil // as above
	}
	c := policyCheck{scope: scope}
	combinations, err := c.object(tree, 1, 1)
	switch {
	case err != nil:
		return nil, err
	case len(policy) > maxPolicyBytes:
		return nil, fmt.Errorf("FilterPolicy: Filter policy is larger than %d bytes", maxPolicyBytes)
	case len(tree) > maxKeys:
		return nil, fmt.Errorf("FilterPolicy: Filter policy can not have more than %d keys", maxKeys)
	case combinations > maxCombinations:
		return nil, fmt.Errorf("FilterPolicy: Filter policy is too complex")
	}
	p, err := eventpattern.Compile([]byte(policy))
	if err != nil {
		return nil, fmt.Errorf("FilterPolicy: %w", err)
	}
	return &filter{p, scope}, nil
}

func errOrMore(err error) error {
	if err == nil {
		return fmt.Errorf("there is something behind the object")
	}
	return err
}

// wordsError is an error in the service's own words: clients read them as they are.
type wordsError string

func (e wordsError) Error() string { return string(e) }

type policyCheck struct{ scope string }

// object checks a level of a policy and counts the combinations: the numbers of values times their depths, multiplied;
// those of $or's choices added.
func (c policyCheck) object(o map[string]any, depth, combinations int) (int, error) {
	if depth > 1 && c.scope == byAttributes {
		return 0, wordsError("Filter policy scope " + byAttributes + " does not support nested filter policy")
	}
	for _, key := range slices.Sorted(maps.Keys(o)) {
		var err error
		if combinations, err = c.member(key, o[key], depth, combinations); err != nil {
			return 0, err
		}
		combinations = min(combinations, 1_000_000) // it is too many long before it overflows
	}
	return combinations, nil
}

func (c policyCheck) member(key string, value any, depth, combinations int) (int, error) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			return 0, fmt.Errorf("FilterPolicy: Empty objects are not allowed")
		}
		return c.object(v, depth+1, combinations)
	case []any:
		if len(v) == 0 {
			return 0, fmt.Errorf("FilterPolicy: Empty arrays are not allowed")
		}
		if choices, ok := choicesOf(key, v); ok {
			sum := 0
			for _, choice := range choices {
				n, err := c.object(choice, depth, combinations)
				if err != nil {
					return 0, err
				}
				sum += n
			}
			return sum, nil
		}
		for _, rule := range v {
			if err := checkRule(rule); err != nil {
				return 0, err
			}
		}
		return combinations * len(v) * depth, nil
	}
	return 0, fmt.Errorf("FilterPolicy: %q must be an object or an array", key)
}

// choicesOf are those of $or, which is a choice when it has two objects or more, and none of them begins with an operator.
func choicesOf(key string, list []any) (choices []map[string]any, ok bool) {
	if key != "$or" || len(list) < 2 {
		return nil, false
	}
	for _, item := range list {
		o, ok := item.(map[string]any)
		if !ok {
			return nil, false
		}
		for name := range o {
			if len(o) == 1 && slices.Contains(operators, name) {
				return nil, false
			}
		}
		choices = append(choices, o)
	}
	return choices, true
}

var operators = []string{"equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "numeric", "cidr"}

func checkRule(rule any) error {
	switch r := rule.(type) {
	case nil, string, bool, json.Number:
		return nil
	case map[string]any:
		if len(r) != 1 {
			return fmt.Errorf("FilterPolicy: Only one key allowed in match expression")
		}
		for name, value := range r {
			return checkOperator(name, value)
		}
	}
	return fmt.Errorf("FilterPolicy: Match value must be String, number, true, false, or null")
}

func checkOperator(name string, value any) error {
	switch name {
	case "equals-ignore-case", "prefix", "suffix":
		if _, ok := value.(string); !ok {
			return fmt.Errorf("FilterPolicy: %s match pattern must be a string", name)
		}
	case "exists":
		if _, ok := value.(bool); !ok {
			return wordsError("FilterPolicy: exists match pattern must be either true or false.")
		}
	case "anything-but":
		if o, ok := value.(map[string]any); ok {
			for inner := range o {
				if inner != "prefix" && inner != "suffix" {
					return fmt.Errorf("FilterPolicy: Unsupported anything-but pattern: %s", inner)
				}
			}
		}
	case "numeric":
		return checkNumeric(value)
	case "cidr":
		return checkNetwork(value)
	default:
		return fmt.Errorf("FilterPolicy: Unrecognized match type %s", name)
	}
	return nil
}

func checkNetwork(value any) error {
	s, ok := value.(string)
	if !ok {
		return fmt.Errorf("FilterPolicy: prefix match pattern must be a string")
	}
	address, mask, ok := strings.Cut(s, "/")
	if !ok || strings.Contains(mask, "/") {
		return fmt.Errorf("FilterPolicy: Malformed CIDR, one '/' required")
	}
	if _, err := strconv.Atoi(mask); err != nil {
		return fmt.Errorf("FilterPolicy: Malformed CIDR, mask bits must be an integer")
	}
	if _, err := netip.ParsePrefix(s); err != nil {
		return fmt.Errorf("FilterPolicy: Nonstandard IP address: %s", address)
	}
	return nil
}

func checkNumeric(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return fmt.Errorf("FilterPolicy: Invalid member in numeric match: ]")
	}
	for i, item := range list {
		side, isText := item.(string)
		_, isNumber := item.(json.Number)
		switch {
		case i%2 == 1 && !isNumber:
			return fmt.Errorf("FilterPolicy: Value of %v must be numeric", wordOf(list[i-1]))
		case i == 0 && !isText:
			return fmt.Errorf("FilterPolicy: Invalid member in numeric match: %v", item)
		case i == 0 && !slices.Contains([]string{"<", "<=", "=", ">", ">="}, side):
			return fmt.Errorf("FilterPolicy: Unrecognized numeric range operator: %s", side)
		case i == 2 && list[0] != ">" && list[0] != ">=":
			return fmt.Errorf("FilterPolicy: Too many elements in numeric expression")
		case i == 2 && !isText:
			return fmt.Errorf("FilterPolicy: Bad value in numeric range: %v", item)
		case i == 2 && side != "<" && side != "<=":
			return fmt.Errorf("FilterPolicy: Bad numeric range operator: %s", side)
		case i == 4:
			return fmt.Errorf("FilterPolicy: Too many terms in numeric range expression")
		}
	}
	if len(list)%2 == 1 {
		return fmt.Errorf("FilterPolicy: Value of %v must be numeric", wordOf(list[len(list)-1]))
	}
	if len(list) == 4 && number(list[1]) >= number(list[3]) {
		return fmt.Errorf("FilterPolicy: Bottom must be less than top")
	}
	return nil
}

func wordOf(side any) any {
	if side == "=" {
		return "equals"
	}
	return side
}

func number(v any) float64 {
	n, _ := v.(json.Number)
	f, _ := n.Float64() //nolint:errcheck // JSON's
	return f
}

// documents are what filters of one message are held against, each made when it is asked for first.
type documents struct {
	m    *Message
	made map[string]*eventpattern.Document // by scope and text
}

// pass says whether a subscription gets the message.
func (d *documents) pass(f *filter, protocol string) bool {
	if f == nil {
		return true
	}
	key := byAttributes
	if f.scope == byBody {
		key = byBody + d.m.textFor(protocol)
	}
	doc, ok := d.made[key]
	if !ok {
		source := []byte(strings.TrimPrefix(key, byBody))
		if key == byAttributes {
			source = attributesDocument(d.m.Attributes)
		}
		if parsed, err := eventpattern.Parse(source); err == nil && parsed.IsObject() {
			doc = parsed
		}
		if d.made == nil {
			d.made = map[string]*eventpattern.Document{}
		}
		d.made[key] = doc
	}
	return doc != nil && f.pattern != nil && f.pattern.Match(doc)
}

// attributesDocument is what a policy of the scope MessageAttributes is held against. Binary attributes are not in it.
func attributesDocument(all []Attribute) []byte {
	members := map[string]json.RawMessage{}
	for _, a := range all {
		switch {
		case a.binary():
		case a.Type == "Number" || strings.HasPrefix(a.Type, "Number."):
			n := strings.TrimPrefix(a.Value, "+")
			if json.Valid([]byte(n)) {
				members[a.Name] = json.RawMessage(n)
			} else if f, err := strconv.ParseFloat(n, 64); err == nil {
				members[a.Name] = json.RawMessage(strconv.FormatFloat(f, 'g', -1, 64))
			}
		case a.Type == "String.Array":
			var list []any
			if json.Unmarshal([]byte(a.Value), &list) == nil {
				members[a.Name] = bytes.TrimSpace([]byte(a.Value))
			}
		default:
			if b, err := json.Marshal(a.Value); err == nil {
				members[a.Name] = b
			}
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		return nil
	}
	return b
}
