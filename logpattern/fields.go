package logpattern

import (
	"strconv"
	"strings"
)

// row is a pattern for messages of fields with spaces between them. Without an ellipsis the number of fields must be the same.
type row struct{ fields []field }

// field is a name with a condition, or an ellipsis that stands for any number of fields.
type field struct {
	ellipsis bool
	expr     expr[string] // nil: any text
}

func (f *field) fits(text string) bool { return f.expr == nil || f.expr.holds(text) }

// matches goes back to the last ellipsis alone where a field does not fit: more is never needed.
func (r *row) matches(message string) bool {
	have := split(message)
	at, i := 0, 0
	restart, from := -1, 0 // behind the last ellipsis, and where its fields began
	for i < len(have) {
		switch {
		case at < len(r.fields) && r.fields[at].ellipsis:
			at++
			restart, from = at, i
		case at < len(r.fields) && r.fields[at].fits(have[i]):
			at, i = at+1, i+1
		case restart >= 0:
			from++
			at, i = restart, from
		default:
			return false
		}
	}
	for at < len(r.fields) && r.fields[at].ellipsis {
		at++
	}
	return at == len(r.fields)
}

// split gives the fields of a message: what stands between spaces, in brackets or in double quotes.
func split(message string) []string {
	var fields []string
	for {
		message = strings.TrimLeft(message, " \t\r\n")
		if message == "" {
			return fields
		}
		if end := map[byte]byte{'[': ']', '"': '"'}[message[0]]; end != 0 {
			if n := strings.IndexByte(message[1:], end); n >= 0 {
				fields, message = append(fields, message[1:1+n]), message[n+2:]
				continue
			}
		}
		n := strings.IndexAny(message, " \t\r\n")
		if n < 0 {
			n = len(message)
		}
		fields, message = append(fields, message[:n]), message[n:]
	}
}

// fields reads what follows the opening bracket.
func (p *parser) fields() (matcher, error) {
	r := &row{}
	for {
		p.space()
		f := field{ellipsis: p.take("...") || p.take("…")}
		if !f.ellipsis && p.rest() != "" && strings.IndexByte(",]", p.rest()[0]) < 0 {
			var err error
			if f.expr, err = either(p, 0, fieldCondition); err != nil {
				return nil, err
			}
		}
		r.fields = append(r.fields, f)
		p.space()
		if p.take("]") {
			break
		}
		if !p.take(",") {
			return nil, p.badCharacters(inWord)
		}
	}
	if p.space(); !p.done() {
		return nil, p.badCharacters(inWord)
	}
	return r, nil
}

// anything is a name without a condition.
type anything struct{}

func (anything) holds(string) bool { return true }

// fieldComparison is NAME OPERATOR VALUE; the name is the reader's own.
type fieldComparison struct {
	op string
	v  value
}

func fieldCondition(p *parser) (expr[string], error) {
	if p.word(inSelector) == "" {
		return nil, p.badCharacters(inSelector)
	}
	p.space()
	op := p.operator()
	if op == "" {
		return anything{}, nil
	}
	if op == "=" && p.take("!") { // older examples of the guide write it so
		op = "!="
	}
	v, err := p.value(op)
	if err != nil {
		return nil, err
	}
	return &fieldComparison{op, v}, nil
}

func (c *fieldComparison) holds(text string) bool {
	if c.v.isNumber {
		if n, err := strconv.ParseFloat(text, 64); err == nil && isNumber(text) {
			return compare(n, c.op, c.v.number)
		}
	}
	return !ordered(c.op) && c.v.like(text) == (c.op == "=")
}
