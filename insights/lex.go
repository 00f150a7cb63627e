package insights

import (
	"strings"
	"unicode"
)

// kinds of tokens.
const (
	nothing = iota // the end
	word           // a name, a number, a keyword
	name           // in backquotes: a field's name
	text           // in quotes
	regex          // between slashes
	sign
)

type token struct {
	kind       int
	text       string
	start, end int
}

type parser struct {
	text   string
	tokens []token
	at     int
	depth  int
}

func (p *parser) now() token { return p.tokens[p.at] }
func (p *parser) end() bool  { return p.now().kind == nothing }
func (p *parser) next() token {
	t := p.now()
	if !p.end() {
		p.at++
	}
	return t
}

// is says whether a sign, or a keyword in any case, comes next.
func (p *parser) is(s string) bool {
	t := p.now()
	return t.kind == sign && t.text == s || t.kind == word && strings.EqualFold(t.text, s)
}

func (p *parser) take(s string) bool {
	if p.is(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) want(s string) error {
	if !p.take(s) {
		return p.unexpected(s)
	}
	return nil
}

var signs = []string{"!=", "<=", ">=", "=~", "||", "&&", "|", ",", "(", ")", "[", "]", "=", "<", ">", "+", "-", "*", "/", "%", "^"}

// scan makes tokens of the text.
func (p *parser) scan() error {
	s := p.text
	for i := 0; i < len(s); {
		start := i
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
			continue
		case c == '"' || c == '\'' || c == '`' || c == '/' && p.regexMayStand():
			body, n := enclosed(s[i:])
			if n == 0 {
				return &Error{"what begins with " + string(c) + " does not end", start, len(s)}
			}
			kind := map[byte]int{'"': text, '\'': text, '`': name, '/': regex}[c]
			p.tokens = append(p.tokens, token{kind, body, start, i + n})
			i += n
			continue
		}
		if n := strings.IndexFunc(s[i:], func(r rune) bool { return !inWord(r) }); n != 0 {
			if n < 0 {
				n = len(s) - i
			}
			p.tokens = append(p.tokens, token{word, s[i : i+n], start, i + n})
			i += n
			continue
		}
		for _, sg := range signs {
			if strings.HasPrefix(s[i:], sg) {
				p.tokens = append(p.tokens, token{sign, sg, start, i + len(sg)})
				i += len(sg)
				break
			}
		}
		if i == start {
			return &Error{"unexpected symbol found " + string([]rune(s[i:])[:1]), start, start + 1}
		}
	}
	p.tokens = append(p.tokens, token{nothing, "", len(s), len(s)})
	return nil
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '@' || r == '.' || r == '$' || r == ':'
}

// regexMayStand tells a slash that begins a regular expression from one that divides.
func (p *parser) regexMayStand() bool {
	if len(p.tokens) == 0 {
		return false
	}
	last := p.tokens[len(p.tokens)-1]
	return last.kind == sign && last.text == "=~" || last.kind == word && strings.EqualFold(last.text, "like") ||
		len(p.tokens) > 1 && strings.EqualFold(p.tokens[len(p.tokens)-2].text, "parse") || last.kind == word && strings.EqualFold(last.text, "parse")
}

// enclosed reads what stands between a character and its next one, and the length of both. A backslash before the
// character keeps it; in quotes \\ is one backslash.
func enclosed(s string) (body string, n int) {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return b.String(), i + 1
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == quote || s[i+1] == '\\' && quote != '/'):
			i++
			b.WriteByte(s[i])
		case s[i] == '\\' && i+1 < len(s) && quote == '/':
			b.WriteString(s[i : i+2])
			i++
		default:
			b.WriteByte(s[i])
		}
	}
	return "", 0
}
