package logstore

import "testing"

func TestPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"ERROR", "an ERROR here", true},
		{"ERROR", "an error here", false},
		{"a b", "b then a", true},
		{"a z", "b then a", false},
		{`"two words"`, "some two words", true},
		{`"two words"`, "words two", false},
		{"ERROR -quiet", "ERROR quiet", false},
		{"ERROR -quiet", "ERROR", true},
		{`-"not this"`, "but not this", false},
		{"?WARN ?ERROR", "a WARN", true},
		{"?WARN ?ERROR", "an INFO", false},
		{`{ $.level = "ERROR" }`, `{"level":"ERROR"}`, true},
		{`{ $.level = ERR* }`, `{"level":"ERROR"}`, true},
		{`{ $.level = *R* }`, `{"level":"ERROR"}`, true},
		{`{ $.level != "ERROR" }`, `{"level":"INFO"}`, true},
		{`{ $.level = "ERROR" }`, `level ERROR`, false},
		{`{$.a.b>=2}`, `{"a":{"b":2}}`, true},
		{`{$.a.b>2}`, `{"a":{"b":2}}`, false},
		{`{$.a.b < 2}`, `{"a":{"b":"1"}}`, false},
		{`{$.ok = true}`, `{"ok":true}`, true},
		{`{$.a = 1}`, `{"b":1}`, false},
	} {
		p, err := ParsePattern(tc.pattern)
		if err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
		} else if got := p.Match(tc.message); got != tc.want {
			t.Errorf("%s on %s: %v", tc.pattern, tc.message, got)
		}
	}
	for _, bad := range []string{`"open`, "-", "? a", "{", "{}", "{ $.a }", "{ level = 1 }", "{ $.a < x }", "{ $. = 1 }", "{ $.a = }"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("%q was accepted as %+v", bad, p)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`a -b ?c "d e"`, "a c")
	f.Add(`{ $.a.b >= 1 }`, `{"a":{"b":2}}`)
	f.Fuzz(func(t *testing.T, pattern, message string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		p.Match(message)
		if len(p.all)+len(p.none)+len(p.any) == 0 && p.path == nil && !p.Match(message) {
			t.Error("a pattern without terms refused a message")
		}
	})
}
